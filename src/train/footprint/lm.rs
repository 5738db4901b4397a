//! Bytes of a language model, besides its matrices.

use super::sum::Sum;
use crate::gpu::Class;
use crate::nn::{LmConfig, MoeConfig, Precision};
use crate::ops::Activation;
use crate::ops::gate::Gate;
use crate::sparse::{RoutingBounds, RoutingShape, Topology};
use crate::{Error, Result};

/// Trained tables and gains, by elements.
pub(super) fn tables(config: &LmConfig) -> impl Iterator<Item = (u128, &'static str)> {
    let width = config.width as u128;
    let tables = [config.vocabulary.len(), config.context].map(|rows| (rows as u128 * width, "embeddings"));
    let gains = std::iter::repeat_n((width, "a gain"), 2 * config.depth + 1);
    tables.into_iter().chain(gains)
}

/// Adds up what belongs to each of so many rows.
struct Rows<'a> {
    sum: &'a mut Sum,
    rows: u128,
    /// Bytes of an activation that products read.
    size: u64,
    half: bool,
}

impl Rows<'_> {
    fn add(&mut self, label: &'static str, width: usize, size: u64) {
        self.sum.add(Class::Activations, label, self.rows * width as u128, size);
    }

    /// An f16 copy for products, where they read f16.
    fn copy(&mut self, width: usize) {
        if self.half {
            self.add("an f16 copy", width, 2);
        }
    }

    fn feed_forward(&mut self, activation: Activation, hidden: usize) {
        let pre = u32::from(!activation.shows_in_output());
        (0..2 + pre).for_each(|_| self.add("hidden units", hidden, self.size));
    }
}

/// Where a batch of windows passes through.
pub(super) fn passes(sum: &mut Sum, config: &LmConfig, batch: usize, precision: Precision) -> Result<()> {
    let (width, classes) = (config.width, config.vocabulary.len());
    let rows = batch as u128 * config.context as u128;
    let half = precision.half().is_some();
    let mut all = Rows { sum, rows, size: precision.dtype().size(), half };
    all.add("input", 1, 4);
    (0..config.depth + 3).for_each(|_| all.add("the residual stream", width, 4));
    (0..2).for_each(|_| all.add("logits", classes, 4));
    all.copy(classes);
    // Gradients that the blocks share: of norms, of attention, and of the projections.
    (0..2).for_each(|_| all.add("a gradient", width, 4));
    all.add("a gradient", config.heads, 4);
    all.add("a gradient", 3 * width, 4);
    all.copy(3 * width);
    all.copy(width);
    for _ in 0..=2 * config.depth {
        all.add("scales of a norm", 1, 4);
        all.add("a norm", width, all.size);
    }
    for _ in 0..config.depth {
        all.add("queries, keys and values", 3 * width, 4);
        (0..2).for_each(|_| all.add("attention", width, 4));
        all.add("log sums", config.heads, 4);
        all.copy(width);
        match &config.experts {
            None => all.feed_forward(config.activation, config.hidden),
            Some(experts) => mixture(&mut all, config, experts)?,
        }
    }
    Ok(())
}

/// A mixture of experts: its router, its routing tables, and the hidden units of the tiles that there may be.
fn mixture(all: &mut Rows<'_>, config: &LmConfig, moe: &MoeConfig) -> Result<()> {
    let tokens = usize::try_from(all.rows)
        .map_err(|_| Error::argument("lm", "batch", "at most 2^64 tokens", all.rows))?;
    let experts = moe.experts.len();
    let choices = moe.gate.assignments(experts);
    let shape = moe.routing(tokens, config.block);
    let bounds = shape.bounds()?;
    router(all, moe);
    routing(all, &shape, bounds);
    // The choices, their weights and the gradients of these, and a part of the input's gradient.
    (0..3).for_each(|_| all.add("choices", choices, 4));
    all.add("a gradient", config.width, 4);
    if moe.capacity > 0.0 {
        let words = tokens.div_ceil(32) as u128 * experts as u128;
        all.sum.add(Class::Scratch, "assignments that are not dropped", words, 4);
    }

    let block = config.block as u128;
    let (rows, elements) = (bounds.tiles as u128 * block, bounds.slots as u128 * block * block);
    let sparse = config.sparsity.is_some();
    (0..3 + u32::from(moe.gated)).for_each(|_| {
        all.sum.add(Class::Activations, "hidden units of experts", elements, 4);
    });
    if all.half && !sparse {
        all.sum.add(Class::Activations, "an f16 copy", elements, 2);
    }
    if all.half && sparse {
        (0..2).for_each(|_| all.add("an f32 copy", config.width, 4));
    }
    all.sum.add(Class::Activations, "rows of experts", rows * config.width as u128, 4);
    (0..2).for_each(|_| all.sum.add(Class::Activations, "weights of rows", rows, 4));
    if moe.shared > 0 {
        all.feed_forward(config.activation, moe.shared);
    }
    Ok(())
}

fn router(all: &mut Rows<'_>, moe: &MoeConfig) {
    if matches!(moe.gate, Gate::Hash { .. }) {
        return;
    }
    let experts = moe.experts.len();
    let noisy = matches!(moe.gate, Gate::NoisyTopK { .. });
    (0..if noisy { 6 } else { 3 }).for_each(|_| all.add("a router", experts, 4));
    (0..1 + u32::from(noisy)).for_each(|_| all.copy(experts));
    all.add("a router", 4, 4);
    if moe.bias_rate > 0.0 {
        all.sum.add(Class::Values, "a bias", experts as u128, 4);
    }
}

fn routing(all: &mut Rows<'_>, shape: &RoutingShape, bounds: RoutingBounds) {
    let columns = shape.hidden() / shape.block;
    let tables = [
        Topology::packed_words([bounds.tiles, columns], bounds.slots),
        bounds.tiles * shape.block,
        bounds.tiles * shape.block,
        shape.assignments(),
        shape.experts(),
        shape.experts(),
        shape.experts() + 1,
        shape.experts() + 1,
    ];
    tables.into_iter().for_each(|words| all.sum.add(Class::Topology, "routing", words as u128, 4));
}
