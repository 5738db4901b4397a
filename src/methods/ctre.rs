//! CTRE: cosine similarity-based and random topology exploration (Atashgahi et al. 2022).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{LayerContext, Method, MutableTopology, Phase, Updates};
use crate::gpu::Recorder;
use crate::graph::Graph;
use crate::ops::{self, Order, SelectK, SetOp, ValueScore};
use crate::{Error, Result};

/// Limit of a new weight's uniform draw.
const LIMIT: f32 = 0.1;

/// Refuses sparse experts, whose inputs and outputs have no rows in common.
fn expect_common_rows(method: &dyn Method, graph: &Graph) -> Result<()> {
    if !graph.sparse_kinds().any(|kind| kind == "moe") {
        return Ok(());
    }
    let reason = format!(
        "{} compares a layer's inputs with its outputs row by row, and each expert processes rows of its own",
        method.name()
    );
    Err(Error::Config { option: "method", reason })
}

/// Options of [`CtreSeq`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CtreSeqOptions {
    /// Schedule of the updates.
    pub updates: Updates,
    /// Rows that score growth; see [`Method::score_rows`].
    pub score_rows: Option<usize>,
    /// Epochs without a better training loss before growth becomes random. (The paper watches the loss of a validation part. No
    /// such part is set aside here, and the test part must not decide.)
    pub patience: u64,
}

impl Default for CtreSeqOptions {
    fn default() -> Self {
        Self { updates: Updates::CTRE, score_rows: None, patience: 40 }
    }
}

/// Grows blocks whose inputs and outputs are similar until training stops improving, and random blocks from then on.
#[derive(Debug, Default)]
pub struct CtreSeq {
    options: CtreSeqOptions,
    /// Smallest training loss of an epoch.
    best: Option<f64>,
    /// Epochs since.
    waited: u64,
}

impl From<CtreSeqOptions> for CtreSeq {
    fn from(options: CtreSeqOptions) -> Self {
        Self { options, ..Self::default() }
    }
}

impl CtreSeq {
    fn is_random(&self) -> bool {
        self.waited >= self.options.patience
    }
}

impl Method for CtreSeq {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.options.updates)
    }

    fn keeps_sizes(&self) -> bool {
        true
    }

    fn score_rows(&self) -> Option<usize> {
        self.options.score_rows
    }

    fn accepts(&self, graph: &Graph) -> Result<()> {
        expect_common_rows(self, graph)
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        layer.score_stored(rec, ValueScore::Abs)?;
        layer.drop_smallest(rec)?;
        if self.is_random() {
            layer.score_randomly(rec)?;
        } else {
            layer.score_similarity(rec)?;
        }
        layer.grow_largest(rec)?;
        layer.swap(rec, layer.drawn(LIMIT), None)
    }

    fn mutate(&mut self, phase: Phase, _network: &mut dyn MutableTopology) -> Result<()> {
        let Phase::EpochEnd { train_loss, .. } = phase else { return Ok(()) };
        // Growth that has become random stays random.
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

    fn recall(&mut self, memory: &Value, _network: &mut dyn MutableTopology) -> Result<()> {
        (self.best, self.waited) = serde_json::from_value(json!([memory["best"], memory["waited"]]))
            .map_err(|error| Error::Config { option: "method", reason: format!("ctre-seq: {error}") })?;
        Ok(())
    }
}

/// Grows blocks whose inputs and outputs are similar. Those among them that the update has just dropped are replaced by random
/// ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CtreSim {
    /// Schedule of the updates.
    pub updates: Updates,
    /// Rows that score growth; see [`Method::score_rows`].
    pub score_rows: Option<usize>,
}

impl Default for CtreSim {
    fn default() -> Self {
        Self { updates: Updates::CTRE, score_rows: None }
    }
}

impl Method for CtreSim {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn keeps_sizes(&self) -> bool {
        true
    }

    fn score_rows(&self) -> Option<usize> {
        self.score_rows
    }

    fn accepts(&self, graph: &Graph) -> Result<()> {
        expect_common_rows(self, graph)
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        layer.score_stored(rec, ValueScore::Abs)?;
        layer.drop_smallest(rec)?;
        layer.score_similarity(rec)?;
        layer.grow_largest(rec)?;

        let (again, similar, random) = (layer.set(rec)?, layer.set(rec)?, layer.set(rec)?);
        let count = layer.word(rec)?;
        ops::bits::combine(rec, layer.grown(), layer.dropped(), SetOp::And, &again)?;
        ops::bits::count(rec, &again, &count, false)?;
        ops::bits::combine(rec, layer.grown(), layer.dropped(), SetOp::AndNot, &similar)?;
        // Random blocks are neither stored nor dropped nor grown already.
        layer.score_randomly(rec)?;
        layer.exclude_kept(rec)?;
        ops::score_exclude(rec, layer.dropped(), layer.scores())?;
        ops::score_exclude(rec, &similar, layer.scores())?;
        ops::select(rec, layer.scores(), SelectK::Count(&count), Order::Largest, &random)?;
        ops::bits::combine(rec, &similar, &random, SetOp::Or, layer.grown())?;
        // There may be fewer free places than `k`, and slots change hands in pairs: as many are dropped as grow.
        ops::bits::count(rec, layer.grown(), &count, false)?;
        layer.score_stored(rec, ValueScore::Abs)?;
        ops::select(rec, layer.scores(), SelectK::Count(&count), Order::Smallest, layer.dropped())?;
        layer.swap(rec, layer.drawn(LIMIT), None)
    }
}
