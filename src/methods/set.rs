//! SET: sparse evolutionary training (Mocanu et al. 2018).

use serde::{Deserialize, Serialize};

use super::{LayerContext, Method, Updates};
use crate::Result;
use crate::gpu::Recorder;
use crate::ops::{self, SetOp, ValueScore};

/// Drops the blocks with the smallest sum of |w| and grows random ones, from 0: the SET that RigL's authors compare with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Set {
    /// Schedule of the updates.
    pub updates: Updates,
}

impl Default for Set {
    fn default() -> Self {
        Self { updates: Updates::RIGL }
    }
}

impl Method for Set {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn keeps_sizes(&self) -> bool {
        true
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        layer.score_stored(rec, ValueScore::Abs)?;
        layer.drop_smallest(rec)?;
        layer.score_randomly(rec)?;
        layer.grow_largest(rec)?;
        layer.swap_from_zero(rec)
    }
}

/// SET as published: drops a share, the schedule's fraction throughout, of the blocks with a positive sum and of those with a
/// negative one, those nearest to 0, and grows random blocks with weights drawn from the distribution of the first ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetPublished {
    /// Schedule of the updates.
    pub updates: Updates,
}

impl Default for SetPublished {
    fn default() -> Self {
        Self { updates: Updates::SET }
    }
}

impl Method for SetPublished {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn keeps_sizes(&self) -> bool {
        true
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        let share = self.updates.fraction;
        layer.score_stored(rec, ValueScore::Positive)?;
        let positive = layer.smallest_share(rec, share)?;
        layer.score_stored(rec, ValueScore::Negative)?;
        let negative = layer.smallest_share(rec, share)?;
        ops::bits::combine(rec, &positive, &negative, SetOp::Or, layer.dropped())?;
        layer.score_randomly(rec)?;
        layer.grow_as_many(rec)?;
        let limit = (6.0 / layer.fan_in as f64).sqrt() as f32;
        layer.swap(rec, layer.drawn(limit), None)
    }
}
