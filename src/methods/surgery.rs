//! What a method may do to a network between steps.

use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::nn::Mlp;
use crate::ops::{self, Extreme, Quota, ValueScore};
use crate::sparse::BlockMatrix;
use crate::Result;

/// When a method is asked to operate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// Before the first step.
    Start,
    /// Where an update is due, before the step is trained.
    Update {
        /// The step, from 0.
        step: u64,
        /// The steps of the run.
        steps: u64,
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
    fn model(&self) -> &Mlp;

    /// The number of blocks each layer is to have, by the run's sparsity; for dense layers 0.
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
    fn reshape(&mut self, layer: usize, set: &Tensor, nnz: usize) -> Result<()>;

    /// The sparse weights with the numbers of their layers, from the input on.
    fn sparse_layers(&self) -> Vec<(usize, BlockMatrix)> {
        let layers = self.model().layers().iter().enumerate();
        layers.filter_map(|(index, layer)| Some((index, layer.weight().sparse()?.clone()))).collect()
    }
}

/// How many blocks are kept.
#[derive(Debug, Clone)]
pub enum Budget {
    /// So many in all layers together, wherever the scores are best.
    Global(usize),
    /// So many in each layer, by its number.
    PerLayer(Vec<usize>),
}

/// Places of one layer's scores and sets within those of all: aligned for every device.
const ALIGNED: usize = 2048;

/// Keeps the blocks with the best scores of those that are stored, by `what` of each weight and its gradient. With a global
/// budget the host waits to learn how many each layer keeps.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if a layer is left with no block; as the operations.
pub fn keep(network: &mut dyn Surgery, what: ValueScore, budget: &Budget) -> Result<()> {
    let grads = |network: &dyn Surgery, layer: usize| {
        let layer = &network.model().layers()[layer];
        what.takes_other().then(|| layer.weight_grad().values().clone())
    };
    keep_by(network, budget, &|rec, network, (layer, weight), scores| {
        ops::score_values(rec, weight, grads(network, layer).as_ref(), scores, what)
    })
}

/// What records the scores of one layer's stored blocks.
type Scorer<'a> =
    dyn Fn(&mut Recorder<'_>, &dyn Surgery, (usize, &BlockMatrix), &Tensor) -> Result<()> + 'a;

/// The same, by scores that `score` records.
///
/// # Errors
/// As [`keep`].
pub fn keep_by(network: &mut dyn Surgery, budget: &Budget, score: &Scorer<'_>) -> Result<()> {
    let gpu = network.gpu().clone();
    let layers = network.sparse_layers();
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
    let scores = gpu.alloc::<f32>(Class::Scratch, "scores of all layers", &[total])?;
    let chosen = gpu.alloc::<u32>(Class::Scratch, "blocks of all layers", &[total / 32])?;
    let counts: Vec<Tensor> =
        layers.iter().map(|_| gpu.zeros::<u32>(Class::Scratch, "count", &[1])).collect::<Result<_>>()?;
    let set_of = |at: usize| chosen.rows(offsets[at] / 32, layers[at].1.pattern().places().div_ceil(32));

    let mut rec = Recorder::new(&gpu);
    ops::fill(&mut rec, &scores, ops::NO_PART.to_bits())?;
    for (at, (layer, weight)) in layers.iter().enumerate() {
        let scores = scores.rows(offsets[at], weight.pattern().places())?;
        score(&mut rec, network, (*layer, weight), &scores)?;
        if let Budget::PerLayer(wanted) = budget {
            let wanted = gpu.upload(Class::Scratch, "wanted", &[1], &[wanted[*layer] as u32])?;
            ops::select(&mut rec, &scores, Quota::Count(&wanted), Extreme::Largest, &set_of(at)?)?;
        }
    }
    if let Budget::Global(wanted) = budget {
        let wanted = gpu.upload(Class::Scratch, "wanted", &[1], &[*wanted as u32])?;
        ops::select(&mut rec, &scores, Quota::Count(&wanted), Extreme::Largest, &chosen)?;
        for (at, count) in counts.iter().enumerate() {
            ops::bits::count(&mut rec, &set_of(at)?, count)?;
        }
    }
    gpu.run(&rec.finish()?)?;

    for (at, (layer, weight)) in layers.iter().enumerate() {
        let nnz = match budget {
            Budget::PerLayer(wanted) => wanted[*layer].min(weight.pattern().nnz()),
            Budget::Global(_) => gpu.read::<u32>(&counts[at])?.wait()?[0] as usize,
        };
        network.reshape(*layer, &set_of(at)?, nnz)?;
    }
    Ok(())
}
