//! SET: sparse evolutionary training (Mocanu et al. 2018).

use super::{Method, Site};
use crate::Result;
use crate::gpu::Recorder;
use crate::ops::{self, SetOp, ValueScore};

/// Drops the blocks of the smallest magnitude and grows random ones, from 0: SET as RigL's authors compare with it.
#[derive(Debug)]
pub struct Set;

impl Method for Set {
    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        site.score_stored(rec, ValueScore::Abs)?;
        site.drop_smallest(rec)?;
        site.score_randomly(rec)?;
        site.grow_largest(rec)?;
        site.swap_from_zero(rec)
    }
}

/// SET as published: of the blocks with a positive sum and of those with a negative one, the same share nearest to 0 is
/// dropped, and new blocks are drawn like the first ones.
#[derive(Debug)]
pub struct SetPublished {
    /// The share that is dropped.
    pub share: f64,
    /// The run's seed.
    pub seed: u64,
}

impl Method for SetPublished {
    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        site.score_stored(rec, ValueScore::Positive)?;
        let positive = site.smallest_share(rec, self.share)?;
        site.score_stored(rec, ValueScore::Negative)?;
        let negative = site.smallest_share(rec, self.share)?;
        ops::bits::combine(rec, &positive, &negative, SetOp::Or, site.dropped())?;
        site.score_randomly(rec)?;
        site.grow_as_many(rec)?;
        let limit = (6.0 / site.fan_in as f64).sqrt() as f32;
        site.swap(rec, site.drawn(limit, self.seed), None)
    }
}
