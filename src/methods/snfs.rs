//! SNFS: sparse networks from scratch (Dettmers and Zettlemoyer 2019), as RigL's code has it: without moving blocks between
//! layers.

use super::{Method, Site};
use crate::Result;
use crate::gpu::Recorder;
use crate::ops::{self, ProductScore, ValueScore};

/// RigL with gradients smoothed over steps. A smoothed dense gradient would be a dense shadow; what is smoothed is the one
/// number per block, and it is looked at every few steps.
#[derive(Debug)]
pub struct Snfs {
    /// Steps from one look to the next.
    pub every: u64,
    /// How much of the smoothed score stays at each look.
    pub momentum: f32,
}

impl Method for Snfs {
    fn observe_every(&self) -> Option<u64> {
        Some(self.every)
    }

    fn observe(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        site.score_gradient(rec, ProductScore::Abs)?;
        match site.workspace.smoothed() {
            Some(smoothed) => ops::blend(rec, site.scores(), smoothed, [1.0 - self.momentum, self.momentum]),
            None => Ok(()),
        }
    }

    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        site.score_stored(rec, ValueScore::Abs)?;
        site.drop_smallest(rec)?;
        match site.workspace.smoothed() {
            Some(smoothed) => ops::blend(rec, smoothed, site.scores(), [1.0, 0.0])?,
            None => site.score_gradient(rec, ProductScore::Abs)?,
        }
        site.grow_largest(rec)?;
        site.swap_from_zero(rec)
    }
}
