//! RigL: rigging the lottery (Evci et al. 2020).

use serde::{Deserialize, Serialize};

use super::{LayerContext, Method, Updates};
use crate::Result;
use crate::gpu::Recorder;
use crate::ops::{ProductScore, ValueScore};

/// Drops the blocks with the smallest sum of |w| and grows those with the largest sum of |dw|, from 0. A block that is both
/// dropped and grown keeps its weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rigl {
    /// Schedule of the updates.
    pub updates: Updates,
    /// Rows that score growth; see [`Method::score_rows`].
    pub score_rows: Option<usize>,
}

impl Default for Rigl {
    fn default() -> Self {
        Self { updates: Updates::RIGL, score_rows: None }
    }
}

impl Method for Rigl {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn keeps_sizes(&self) -> bool {
        true
    }

    fn score_rows(&self) -> Option<usize> {
        self.score_rows
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        exchange(rec, layer)
    }
}

/// Records RigL's update.
pub(super) fn exchange(rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
    layer.score_stored(rec, ValueScore::Abs)?;
    layer.drop_smallest(rec)?;
    layer.score_gradient(rec, ProductScore::Abs)?;
    layer.grow_largest(rec)?;
    layer.swap_from_zero(rec)
}
