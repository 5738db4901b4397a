//! What a method may do to a network between steps.

use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::graph::{Graph, Network, Param, ParamId, Precision};
use crate::ops::{self, Order, SelectK, ValueScore};
use crate::reference::bits;
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// When a method is asked to operate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// Before the first step.
    Start {
        /// The epochs of the run, where the last may be cut short.
        epochs: u64,
    },
    /// Where an update is due, before the step is trained, for a method that records none.
    Update {
        /// Which update, from 0.
        turn: u64,
        /// The updates of the run.
        turns: u64,
    },
    /// After the last step of an epoch, before the network is tested.
    EpochEnd {
        /// The epoch, from 0.
        epoch: u64,
        /// The epochs of the run, where the last may be cut short.
        epochs: u64,
        /// The mean loss of the epoch.
        train_loss: f64,
    },
}

/// A network between steps.
pub trait Surgery {
    /// The device.
    fn gpu(&self) -> &Gpu;

    /// The network.
    fn model(&self) -> &Network;

    /// Blocks that each parameter is to have, by its [index](ParamId::index) and the run's sparsity; 0 for dense ones.
    fn targets(&self) -> &[usize];

    /// Does the forward and the backward pass of the run's batch number `batch`, without dropout. Gradients stand in the
    /// layers afterwards; nothing else changes.
    ///
    /// # Errors
    /// As training.
    fn backward(&mut self, batch: u64) -> Result<()>;

    /// Gives a layer the blocks of a set, `nnz` of them. Values and optimizer's state follow; new blocks are 0.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if there is no block in the set,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    fn reshape(&mut self, param: ParamId, set: &Tensor, nnz: usize) -> Result<()>;

    /// The network's graph for `batch` rows.
    ///
    /// # Errors
    /// As the description of the network.
    fn graph(&self, batch: usize, precision: Precision) -> Result<Graph>;

    /// Features of a row of the data; columns of the input beyond them pad.
    fn features(&self) -> usize;

    /// The sparse weights with their parameters, from the input on.
    fn sparse_layers(&self) -> Vec<(ParamId, BlockMatrix)> {
        let sparse = |param: &Param| Some((param.id(), param.weight().sparse()?.clone()));
        self.model().store().iter().filter_map(sparse).collect()
    }
}

/// Whose blocks compete where blocks are pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Those of all layers, so that a layer may be emptied.
    Global,
    /// Those of each layer: it keeps a fixed share of the budget.
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

/// How many blocks are kept.
#[derive(Debug, Clone)]
pub enum Budget {
    /// So many in all layers together, wherever the scores are best.
    Global(usize),
    /// So many in each layer, by its parameter's index.
    PerLayer(Vec<usize>),
}

impl Budget {
    /// So many blocks, shared out as the scope says: in proportion to what layers are to have in the end, and never fewer
    /// than that.
    pub fn new(scope: Scope, count: usize, network: &dyn Surgery) -> Self {
        if scope == Scope::Global {
            return Self::Global(count);
        }
        let target: usize = network.targets().iter().sum();
        let places: usize = network.sparse_layers().iter().map(|(_, weight)| weight.pattern().places()).sum();
        Self::towards_targets(network, (count - target.min(count)) as f64 / (places - target).max(1) as f64)
    }

    /// For each layer the number of blocks it is to have in the end, and the share `open` of all others.
    pub(super) fn towards_targets(network: &dyn Surgery, open: f64) -> Self {
        let mut counts = network.targets().to_vec();
        for (layer, weight) in network.sparse_layers() {
            let count = &mut counts[layer.index()];
            *count += ((weight.pattern().places() - *count) as f64 * open).round() as usize;
        }
        Self::PerLayer(counts)
    }
}

/// The set of all blocks of a grid.
pub(super) fn all_blocks(gpu: &Gpu, places: usize) -> Result<Tensor> {
    let all = bits::set(places, 0..places);
    gpu.upload(Class::Topology, "all blocks", &[all.len()], &all)
}

/// Places of one layer's scores and sets within those of all: aligned for every device.
const ALIGNED: usize = 2048;

/// Keeps the blocks with the best scores of those that are stored, by `what` of each weight and its gradient. With a global
/// budget the host waits to learn how many each layer keeps.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if a layer is left with no block; as the operations.
pub fn keep(network: &mut dyn Surgery, what: ValueScore, budget: &Budget) -> Result<()> {
    let grads = |network: &dyn Surgery, layer: ParamId| {
        what.takes_other().then(|| network.model().store().get(layer).grads().clone())
    };
    // Every stored block takes part, so that a layer's own budget is what it keeps, and nobody has to count.
    let counted = matches!(budget, Budget::Global(_));
    keep_counted(network, budget, counted, &|rec, network, (layer, weight), scores| {
        ops::score_values(rec, weight, grads(network, layer).as_ref(), scores, what)
    })
}

/// What records the scores of one layer's stored blocks, with the network at hand.
type NetworkScorer<'a> =
    dyn Fn(&mut Recorder<'_>, &dyn Surgery, (ParamId, &BlockMatrix), &Tensor) -> Result<()> + 'a;

/// The same, by scores that `score` records; a negative one takes no part. The host waits to learn how many are kept.
///
/// # Errors
/// As [`keep`].
pub fn keep_by(network: &mut dyn Surgery, budget: &Budget, score: &NetworkScorer<'_>) -> Result<()> {
    keep_counted(network, budget, true, score)
}

fn keep_counted(
    network: &mut dyn Surgery,
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
        // All that are stored: nothing changes.
        if nnz != weight.pattern().nnz() {
            network.reshape(layer, &set, nnz)?;
        }
    }
    Ok(())
}

/// What records the scores of one matrix's blocks.
type Scorer<'a> = dyn Fn(&mut Recorder<'_>, (ParamId, &BlockMatrix), &Tensor) -> Result<()> + 'a;

/// Chooses among the stored blocks of numbered matrices: the set of each, and how many it has.
pub(super) fn choose(
    gpu: &Gpu,
    layers: &[(ParamId, BlockMatrix)],
    budget: &Budget,
    counted: bool,
    score: &Scorer<'_>,
) -> Result<Vec<(Tensor, usize)>> {
    // The layers' scores lie one behind the other, with what takes no part between them.
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
