//! Changes of topologies between steps: when a method is asked, and operations for it.

use super::Method;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::graph::{Graph, Network, Param, ParamId};
use crate::ops::{self, Order, SelectK, ValueScore};
use crate::reference::bits;
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// Phase of a run in which a method may change topologies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// Before the first step.
    Start {
        /// Epochs of the run; the last may be cut short.
        epochs: u64,
    },
    /// An update is due, before the step is trained. Only for a method that records no update.
    Update {
        /// Number of the update, from 0.
        update: u64,
        /// Updates of the run.
        updates: u64,
    },
    /// After the last step of an epoch, before the network is tested.
    EpochEnd {
        /// Number of the epoch, from 0.
        epoch: u64,
        /// Epochs of the run; the last may be cut short.
        epochs: u64,
        /// Mean loss of the epoch.
        train_loss: f64,
    },
}

/// A network between steps, whose topologies can be changed.
pub trait MutableTopology {
    /// The device.
    fn gpu(&self) -> &Gpu;

    /// The network.
    fn model(&self) -> &Network;

    /// Sparsity of the run; 0 where no layer is sparse.
    fn sparsity(&self) -> f64;

    /// Blocks that the run's sparsity gives each parameter, by its [index](ParamId::index); 0 for dense ones.
    fn targets(&self) -> &[usize];

    /// Runs forward and backward pass of the run's batch number `batch`, without dropout. Gradients are in the store afterwards;
    /// nothing else changes.
    ///
    /// # Errors
    /// As training.
    fn backward(&mut self, batch: u64) -> Result<()>;

    /// Gives a layer the blocks of a set, `nnz` of them. Kept blocks keep values and optimizer state; new blocks are 0.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a set without blocks,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    fn reshape(&mut self, param: ParamId, set: &Tensor, nnz: usize) -> Result<()>;

    /// Graph of the network in single precision, for the fewest rows that it takes.
    ///
    /// # Errors
    /// As the description of the network.
    fn smallest_graph(&self) -> Result<Graph>;

    /// Features of a row of the data; further columns of the input are padding.
    fn features(&self) -> usize;

    /// Sparse weights with their parameters, from the input on.
    fn sparse_layers(&self) -> Vec<(ParamId, BlockMatrix)> {
        let sparse = |param: &Param| Some((param.id(), param.weight().sparse()?.clone()));
        self.model().store().iter().filter_map(sparse).collect()
    }
}

/// Set of blocks that compete in pruning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Blocks of all layers together, so that a layer may be emptied.
    #[default]
    Global,
    /// Blocks of each layer: it keeps a fixed share of the budget.
    Layer,
}

impl std::str::FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "global" => Ok(Self::Global),
            "layer" => Ok(Self::Layer),
            other => Err(Error::Config {
                option: "scope",
                reason: format!("{other:?} is neither global nor layer"),
            }),
        }
    }
}

/// Number of blocks to keep.
#[derive(Debug, Clone)]
pub enum Budget {
    /// In all layers together, those with the best scores.
    Global(usize),
    /// In each layer, by its parameter's index.
    PerLayer(Vec<usize>),
}

impl Budget {
    /// `count` blocks in a scope. Within layers each gets its target and a share of the rest in proportion to its absent blocks.
    pub fn new(scope: Scope, count: usize, network: &dyn MutableTopology) -> Self {
        if scope == Scope::Global {
            return Self::Global(count);
        }
        let target: usize = network.targets().iter().sum();
        let places: usize = network.sparse_layers().iter().map(|(_, weight)| weight.pattern().places()).sum();
        Self::towards_targets(network, (count - target.min(count)) as f64 / (places - target).max(1) as f64)
    }

    /// For each layer its target, and the share `open` of all further blocks.
    pub(super) fn towards_targets(network: &dyn MutableTopology, open: f64) -> Self {
        let mut counts = network.targets().to_vec();
        for (layer, weight) in network.sparse_layers() {
            let count = &mut counts[layer.index()];
            *count += ((weight.pattern().places() - *count) as f64 * open).round() as usize;
        }
        Self::PerLayer(counts)
    }

    /// Refuses a choice that leaves a layer with no block.
    pub(super) fn expect_blocks(
        &self,
        method: &str,
        network: &dyn MutableTopology,
        param: ParamId,
        nnz: usize,
    ) -> Result<()> {
        if nnz > 0 {
            return Ok(());
        }
        let mut reason =
            format!("{method} leaves {} with no block", network.model().store().get(param).layer());
        if let Self::Global(_) = self {
            reason += "; with the scope layer none is emptied";
        }
        Err(Error::Config { option: "sparsity", reason })
    }
}

/// Set of all blocks of a grid.
pub(super) fn all_blocks(gpu: &Gpu, places: usize) -> Result<Tensor> {
    let all = bits::set(places, 0..places);
    gpu.upload(Class::Topology, "all blocks", &[all.len()], &all)
}

/// Alignment of a layer's scores within those of all layers, in places: scores and sets are aligned on every device.
const ALIGNED: usize = 2048;

/// Keeps the stored blocks with the best scores of each weight and its gradient. With a global budget the host waits for the
/// numbers of blocks that layers keep.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if a layer is left with no block; as the operations.
pub fn keep(
    method: &dyn Method,
    network: &mut dyn MutableTopology,
    score: ValueScore,
    budget: &Budget,
) -> Result<()> {
    let grads = |network: &dyn MutableTopology, layer: ParamId| {
        score.takes_other().then(|| network.model().store().get(layer).grads().clone())
    };
    // Every stored block has a score, so a layer keeps its own budget, and no count is read back.
    let counted = matches!(budget, Budget::Global(_));
    keep_counted(method, network, budget, counted, &|rec, network, (layer, weight), scores| {
        ops::score_values(rec, weight, grads(network, layer).as_ref(), scores, score)
    })
}

/// Records the scores of one layer's stored blocks.
type NetworkScorer<'a> =
    dyn Fn(&mut Recorder<'_>, &dyn MutableTopology, (ParamId, &BlockMatrix), &Tensor) -> Result<()> + 'a;

/// Keeps the blocks with the best of the scores that `score` records; blocks with a negative score are dropped. The host waits for
/// the numbers of blocks that layers keep.
///
/// # Errors
/// As [`keep`].
pub fn keep_by(
    method: &dyn Method,
    network: &mut dyn MutableTopology,
    budget: &Budget,
    score: &NetworkScorer<'_>,
) -> Result<()> {
    keep_counted(method, network, budget, true, score)
}

fn keep_counted(
    method: &dyn Method,
    network: &mut dyn MutableTopology,
    budget: &Budget,
    counted: bool,
    score: &NetworkScorer<'_>,
) -> Result<()> {
    let layers = network.sparse_layers();
    let view = &*network;
    let chosen = choose(network.gpu(), &layers, budget, counted, &|rec, layer, scores| {
        score(rec, view, layer, scores)
    })?;
    for ((layer, weight), (set, nnz)) in layers.into_iter().zip(chosen) {
        // A layer that keeps all its stored blocks does not change.
        if nnz != weight.pattern().nnz() {
            budget.expect_blocks(&method.name(), network, layer, nnz)?;
            network.reshape(layer, &set, nnz)?;
        }
    }
    Ok(())
}

/// Records the scores of one matrix's blocks.
type Scorer<'a> = dyn Fn(&mut Recorder<'_>, (ParamId, &BlockMatrix), &Tensor) -> Result<()> + 'a;

/// Selects stored blocks of the matrices: the set of each, and its number of blocks.
pub(super) fn choose(
    gpu: &Gpu,
    layers: &[(ParamId, BlockMatrix)],
    budget: &Budget,
    counted: bool,
    score: &Scorer<'_>,
) -> Result<Vec<(Tensor, usize)>> {
    // Scores of all layers are one tensor, so that one selection covers them; padding between layers takes no part.
    let mut total = 0;
    let offsets: Vec<usize> = layers
        .iter()
        .map(|(_, weight)| {
            let offset = total;
            total += weight.pattern().places().next_multiple_of(ALIGNED);
            offset
        })
        .collect();
    if layers.is_empty() {
        return Ok(Vec::new());
    }
    let scores = gpu.alloc::<f32>(Class::Scratch, "scores of all layers", &[total])?;
    let chosen = gpu.alloc::<u32>(Class::Scratch, "blocks of all layers", &[total / 32])?;
    let sets: Vec<Tensor> = layers
        .iter()
        .zip(&offsets)
        .map(|((_, weight), offset)| chosen.rows(offset / 32, weight.pattern().places().div_ceil(32)))
        .collect::<Result<_>>()?;
    let word = |value: usize| gpu.upload(Class::Scratch, "count", &[1], &[value as u32]);
    let counts: Vec<Tensor> = layers.iter().map(|_| word(0)).collect::<Result<_>>()?;

    let mut rec = Recorder::new(gpu);
    ops::fill(&mut rec, &scores, ops::NO_PART.to_bits())?;
    for (at, (layer, weight)) in layers.iter().enumerate() {
        let scores = scores.rows(offsets[at], weight.pattern().places())?;
        score(&mut rec, (*layer, weight), &scores)?;
        if let Budget::PerLayer(wanted) = budget {
            let wanted = word(wanted.get(layer.index()).copied().unwrap_or(0))?;
            ops::select(&mut rec, &scores, SelectK::Count(&wanted), Order::Largest, &sets[at])?;
        }
    }
    if let Budget::Global(wanted) = budget {
        ops::select(&mut rec, &scores, SelectK::Count(&word(*wanted)?), Order::Largest, &chosen)?;
    }
    if counted {
        sets.iter()
            .zip(&counts)
            .try_for_each(|(set, count)| ops::bits::count(&mut rec, set, count, false))?;
    }
    gpu.run(&rec.finish()?)?;

    let mut result = Vec::new();
    for (at, (layer, weight)) in layers.iter().enumerate() {
        let nnz = match budget {
            Budget::PerLayer(wanted) if !counted => {
                wanted.get(layer.index()).copied().unwrap_or(0).min(weight.pattern().nnz())
            }
            _ => gpu.read::<u32>(&counts[at])?.wait()?[0] as usize,
        };
        result.push((sets[at].clone(), nnz));
    }
    Ok(result)
}
