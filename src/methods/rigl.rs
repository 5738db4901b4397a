//! RigL: rigging the lottery (Evci et al. 2020).

use super::{Method, Site};
use crate::Result;
use crate::gpu::Recorder;
use crate::ops::{ProductScore, ValueScore};

/// Drops the blocks of the smallest magnitude and grows those whose gradient would be largest, from 0. A block that is
/// dropped and grown at once keeps its weights.
#[derive(Debug)]
pub struct Rigl;

impl Method for Rigl {
    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        site.score_stored(rec, ValueScore::Abs)?;
        site.drop_smallest(rec)?;
        site.score_gradient(rec, ProductScore::Abs)?;
        site.grow_largest(rec)?;
        site.swap_from_zero(rec)
    }
}
