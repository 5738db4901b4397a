//! Twins of `shaders/blocks/`.

use crate::random::{Key, unit};
use crate::sparse::Topology;

/// Initialises grown slots (`fresh`): 0, or uniform within +- a limit, drawn at the element's grid position and the
/// step; with `silent`, uniform only in silent block rows.
pub fn renew_blocks(
    topology: &Topology,
    values: &mut [f32],
    fresh: &[bool],
    uniform: Option<(f32, Key, u32)>,
    silent: Option<&[u32]>,
) {
    let area = topology.block() * topology.block();
    for (slot, place) in topology.places().enumerate().filter(|&(slot, _)| fresh[slot]) {
        let row = place / topology.col_blocks();
        let uniform = uniform.filter(|_| silent.is_none_or(|silent| silent[row] == 1));
        for within in 0..area {
            values[slot * area + within] = uniform.map_or(0.0, |(limit, key, step)| {
                let element = (place as u32).wrapping_mul(area as u32).wrapping_add(within as u32);
                (2.0 * unit(key.at([element, step])[0]) - 1.0) * limit
            });
        }
    }
}

/// Topology and block values.
type Values<'a> = (&'a Topology, &'a [f32]);

/// Transfers birth steps to another pattern; blocks only in the new one are born at `now`.
pub fn remap_births(before: (&Topology, &[u32]), to: &Topology, now: u32) -> Vec<u32> {
    let birth = |place| before.0.places().position(|here| here == place).map_or(now, |slot| before.1[slot]);
    to.places().map(birth).collect()
}

/// Transfers block values to another pattern: `weight_a * a + weight_b * b`, where a block missing from a source
/// counts as 0.
pub fn remap_blocks(a: Values<'_>, b: Option<(Values<'_>, [f32; 2])>, to: &Topology, out: &mut [f32]) {
    let area = to.block() * to.block();
    let block = |(topology, values): Values<'_>, place: usize| -> Option<Vec<f32>> {
        let slot = topology.places().position(|here| here == place)?;
        Some(values[slot * area..(slot + 1) * area].to_vec())
    };
    for (slot, place) in to.places().enumerate() {
        let mut sum = block(a, place).unwrap_or(vec![0.0; area]);
        if let Some((b, [weight_a, weight_b])) = b {
            sum.iter_mut().for_each(|x| *x *= weight_a);
            if let Some(other) = block(b, place) {
                sum.iter_mut().zip(other).for_each(|(x, y)| *x = weight_b.mul_add(y, *x));
            }
        }
        out[slot * area..(slot + 1) * area].copy_from_slice(&sum);
    }
}

/// Zeroes inactive blocks: those outside the set `active`.
pub fn zero_inactive_blocks(topology: &Topology, values: &mut [f32], active: &[u32]) {
    let area = topology.block() * topology.block();
    for (place, block) in topology.places().zip(values.chunks_mut(area)) {
        if active[place / 32] >> (place % 32) & 1 == 0 {
            block.fill(0.0);
        }
    }
}

/// Zeroes the padding of blocks: elements in rows or columns that do not count. `counted` has a bit for each row, in whole words, and
/// then one for each column.
pub fn zero_block_padding(topology: &Topology, values: &mut [f32], counted: &[u32]) {
    let block = topology.block();
    let first_column = topology.rows().div_ceil(32) * 32;
    let counts = |line: usize| counted[line / 32] >> (line % 32) & 1 == 1;
    for ((row, col), values) in topology.coordinates().zip(values.chunks_mut(block * block)) {
        for (at, value) in values.iter_mut().enumerate() {
            if !(counts(row * block + at / block) && counts(first_column + col * block + at % block)) {
                *value = 0.0;
            }
        }
    }
}

/// Decoupled weight decay, `value *= 1 - learning_rate * rate`, with one rate inside a set of blocks and another
/// outside.
pub fn decay_blocks(
    topology: &Topology,
    values: &mut [f32],
    active: &[u32],
    [inside, outside]: [f32; 2],
    learning_rate: f32,
) {
    let area = topology.block() * topology.block();
    for (place, block) in topology.places().zip(values.chunks_mut(area)) {
        let member = active[place / 32] >> (place % 32) & 1 == 1;
        let factor = (1.0 - learning_rate * if member { inside } else { outside }).max(0.0);
        block.iter_mut().for_each(|x| *x *= factor);
    }
}
