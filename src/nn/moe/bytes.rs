//! Bytes that a mixture of experts allocates on the device, before it does.

use super::Moe;
use crate::Result;
use crate::gpu::Class;
use crate::graph::Precision;
use crate::ops::gate::Gate;
use crate::sparse::Topology;

/// Buffers of a mixture: class, label, number of elements, bytes of one.
pub(super) type Buffers = Vec<(Class, &'static str, u128, u64)>;

/// The buffers that [`Node::bind`](crate::graph::Node::bind) allocates for a mixture of so many tokens.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for a routing whose sizes overflow.
pub(super) fn of(moe: &Moe, tokens: usize, precision: Precision) -> Result<Buffers> {
    let config = &moe.config;
    let (half, rows) = (precision.half().is_some(), tokens as u128);
    let shape = config.routing(tokens, moe.block);
    let bounds = shape.bounds()?;
    let (experts, width) = (config.experts.len(), moe.width as u128);
    let mut buffers = Buffers::new();
    if !matches!(config.gate, Gate::Hash { .. }) {
        router(&mut buffers, moe, rows, half);
    }
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
    buffers.extend(tables.map(|words| (Class::Topology, "routing", words as u128, 4)));

    let mut add = |label, elements: u128, size| buffers.push((Class::Activations, label, elements, size));
    let assignments = rows * config.gate.assignments(experts) as u128;
    (0..3).for_each(|_| add("assignments", assignments, 4));
    add("a gradient", rows * width, 4);
    let block = moe.block as u128;
    let (tiles, elements) = (bounds.tiles as u128 * block, bounds.slots as u128 * block * block);
    let sparse = moe.sparse.is_some();
    (0..3 + u32::from(config.gated)).for_each(|_| add("hidden units of experts", elements, 4));
    if half && !sparse {
        add("an f16 copy", elements, 2);
    }
    if half && sparse {
        (0..2).for_each(|_| add("an f32 copy", rows * width, 4));
    }
    add("rows of experts", tiles * width, 4);
    (0..2).for_each(|_| add("weights of rows", tiles, 4));
    if config.shared > 0 {
        let pre = u32::from(!moe.activation.shows_in_output());
        let size = precision.dtype().size();
        (0..2 + pre).for_each(|_| add("hidden units", rows * moe.padded_shared() as u128, size));
    }
    if config.capacity > 0.0 {
        let words = tokens.div_ceil(32) as u128 * experts as u128;
        buffers.push((Class::Scratch, "assignments that are not dropped", words, 4));
    }
    Ok(buffers)
}

fn router(buffers: &mut Buffers, moe: &Moe, rows: u128, half: bool) {
    let experts = moe.config.experts.len() as u128;
    let noisy = matches!(moe.config.gate, Gate::NoisyTopK { .. });
    let mut add = |elements, size| buffers.push((Class::Activations, "a router", elements, size));
    (0..if noisy { 6 } else { 3 }).for_each(|_| add(rows * experts, 4));
    if half {
        (0..1 + u32::from(noisy)).for_each(|_| add(rows * experts, 2));
    }
    add(rows * 4, 4);
    if moe.config.bias_rate > 0.0 {
        buffers.push((Class::Values, "a bias", experts, 4));
    }
}
