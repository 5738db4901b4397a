//! SNFS: sparse networks from scratch (Dettmers and Zettlemoyer 2019), in the form of RigL's code: blocks stay in their layer.

use serde::{Deserialize, Serialize};

use super::{Every, LayerContext, Method, Updates};
use crate::Result;
use crate::gpu::Recorder;
use crate::ops::{self, ProductScore, ValueScore};

/// RigL with gradients smoothed over steps. A smoothed dense gradient would be a dense shadow, so one number per block is
/// smoothed, at observations ten times between two updates, or every ten steps where updates are once an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snfs {
    /// Schedule of the updates.
    pub updates: Updates,
    /// Rows that score growth; see [`Method::score_rows`].
    pub score_rows: Option<usize>,
    /// Share of the smoothed score that an observation keeps.
    pub momentum: f32,
}

impl Default for Snfs {
    fn default() -> Self {
        Self { updates: Updates::RIGL, score_rows: None, momentum: 0.9 }
    }
}

impl Method for Snfs {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn keeps_sizes(&self) -> bool {
        true
    }

    fn score_rows(&self) -> Option<usize> {
        self.score_rows
    }

    fn measures_gradients(&self) -> bool {
        true
    }

    fn observe_every(&self) -> Option<u64> {
        Some(match self.updates.every {
            Every::Steps(steps) => (steps / 10).max(1),
            Every::Epoch => 10,
        })
    }

    fn observe(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        layer.score_gradient(rec, ProductScore::Abs)?;
        match layer.workspace.smoothed() {
            Some(smoothed) => ops::blend(rec, layer.scores(), smoothed, [1.0 - self.momentum, self.momentum]),
            None => Ok(()),
        }
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        layer.score_stored(rec, ValueScore::Abs)?;
        layer.drop_smallest(rec)?;
        match layer.workspace.smoothed() {
            Some(smoothed) => ops::blend(rec, smoothed, layer.scores(), [1.0, 0.0])?,
            None => layer.score_gradient(rec, ProductScore::Abs)?,
        }
        layer.grow_largest(rec)?;
        layer.swap_from_zero(rec)
    }
}
