//! CTRE: cosine similarity-based and random topology exploration (Atashgahi et al. 2022).

use serde_json::{Value, json};

use super::{Method, Moment, Site, Surgery};
use crate::gpu::Recorder;
use crate::ops::{self, Order, SelectK, SetOp, ValueScore};
use crate::{Error, Result};

/// The limit of a new weight's uniform draw.
const FRESH: f32 = 0.1;

/// Grows where inputs and outputs behave alike, until training gets no better; from then on at random.
#[derive(Debug)]
pub struct CtreSeq {
    /// The run's seed.
    pub seed: u64,
    /// Epochs without a better training loss before growth becomes random. (The paper looks at a validation part, which
    /// nothing here sets aside; the test part must not decide.)
    pub patience: u64,
    best: Option<f64>,
    waited: u64,
}

impl CtreSeq {
    /// With no epoch seen yet.
    pub fn new(seed: u64, patience: u64) -> Self {
        Self { seed, patience, best: None, waited: 0 }
    }

    fn is_random(&self) -> bool {
        self.waited >= self.patience
    }
}

impl Method for CtreSeq {
    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        site.score_stored(rec, ValueScore::Abs)?;
        site.drop_smallest(rec)?;
        if self.is_random() {
            site.score_randomly(rec)?;
        } else {
            site.score_likeness(rec)?;
        }
        site.grow_largest(rec)?;
        site.swap(rec, site.drawn(FRESH, self.seed), None)
    }

    fn operate(&mut self, moment: Moment, _network: &mut dyn Surgery) -> Result<()> {
        let Moment::EpochEnd { train_loss, .. } = moment else { return Ok(()) };
        // Once random, always random.
        if !self.is_random() {
            if self.best.is_none_or(|best| train_loss < best) {
                (self.best, self.waited) = (Some(train_loss), 0);
            } else {
                self.waited += 1;
            }
        }
        Ok(())
    }

    fn memory(&self) -> Value {
        json!({ "best": self.best, "waited": self.waited })
    }

    fn recall(&mut self, memory: &Value, _network: &mut dyn Surgery) -> Result<()> {
        (self.best, self.waited) = serde_json::from_value(json!([memory["best"], memory["waited"]]))
            .map_err(|error| Error::Config { option: "method", reason: format!("ctre-seq: {error}") })?;
        Ok(())
    }
}

/// Grows where inputs and outputs behave alike; of these, blocks that were dropped a moment ago are replaced by random
/// ones.
#[derive(Debug)]
pub struct CtreSim {
    /// The run's seed.
    pub seed: u64,
}

impl Method for CtreSim {
    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        site.score_stored(rec, ValueScore::Abs)?;
        site.drop_smallest(rec)?;
        site.score_likeness(rec)?;
        site.grow_largest(rec)?;

        // Of the alike, those that were not just dropped.
        let (again, alike, random) = (site.set(rec)?, site.set(rec)?, site.set(rec)?);
        let count = site.word(rec)?;
        ops::bits::combine(rec, site.grown(), site.dropped(), SetOp::And, &again)?;
        ops::bits::count(rec, &again, &count, false)?;
        ops::bits::combine(rec, site.grown(), site.dropped(), SetOp::AndNot, &alike)?;
        // As many at random, which are neither stored, nor dropped, nor grown.
        site.score_randomly(rec)?;
        site.exclude_kept(rec)?;
        ops::score_exclude(rec, site.dropped(), site.scores())?;
        ops::score_exclude(rec, &alike, site.scores())?;
        ops::select(rec, site.scores(), SelectK::Count(&count), Order::Largest, &random)?;
        ops::bits::combine(rec, &alike, &random, SetOp::Or, site.grown())?;
        // Where too few places are free for that, fewer are dropped: no more than grow, the smallest.
        ops::bits::count(rec, site.grown(), &count, false)?;
        site.score_stored(rec, ValueScore::Abs)?;
        ops::select(rec, site.scores(), SelectK::Count(&count), Order::Smallest, site.dropped())?;
        site.swap(rec, site.drawn(FRESH, self.seed), None)
    }
}
