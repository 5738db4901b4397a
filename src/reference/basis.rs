//! Twins of `shaders/basis/`. Bits are the kernels'.

use crate::random::Key;
use crate::terms::{BASIS_GROUP, BasisRange};

/// Whether the entry of an element in a direction is negative, in a step; step 0 of a base that is not redrawn.
pub fn basis_sign(key: Key, element: usize, direction: usize, step: u32) -> bool {
    let step_key = Key(key.at([step, 0]));
    let words = step_key.at([(element / 8) as u32, (direction / BASIS_GROUP) as u32]);
    let bit = 8 * (direction % 4) + element % 8;
    words[direction % BASIS_GROUP / 4] >> bit & 1 == 1
}

fn signed(x: f32, is_negative: bool) -> f32 {
    f32::from_bits(x.to_bits() ^ u32::from(is_negative) << 31)
}

/// Dot products of gradients with entries of 1 and -1, a row of `columns` directions for each chunk of `chunk` elements of each range.
pub fn basis_dot(
    grads: &[f32],
    partials: &mut [f32],
    ranges: &[BasisRange],
    columns: usize,
    chunk: usize,
    step: u32,
) {
    let mut rows = partials.chunks_exact_mut(columns);
    for range in ranges {
        for first in (0..range.len).step_by(chunk) {
            let row = rows.next().expect("a row for each chunk");
            for (direction, out) in row.iter_mut().enumerate() {
                let mut sums = [0f32; 4];
                for element in first..range.len.min(first + chunk) {
                    let is_negative = basis_sign(range.key, element, direction, step);
                    sums[element % 4] += signed(grads[range.first + element], is_negative);
                }
                *out = (sums[0] + sums[1]) + (sums[2] + sums[3]);
            }
        }
    }
}

/// Coordinates of a layer, and behind them the step along each direction, from its rows of dot products. `[entry, reach]` are the size
/// of an entry of a direction, and the same times the layer's share of the step; columns behind the first `directions` are 0.
pub fn basis_sum(
    partials: &[f32],
    coordinates: &mut [f32],
    [entry, reach]: [f32; 2],
    directions: usize,
    learning_rate: f32,
) {
    let columns = coordinates.len() / 2;
    for direction in 0..columns {
        let sum = partials.iter().skip(direction).step_by(columns).fold(0.0, |sum, x| sum + x);
        let coordinate = if direction < directions { sum * entry } else { 0.0 };
        coordinates[direction] = coordinate;
        coordinates[columns + direction] = coordinate * (learning_rate * reach);
    }
}

/// Moves values along the directions: `steps` has the step along each direction, a row of `columns` for each layer.
pub fn basis_add(values: &mut [f32], steps: &[f32], ranges: &[BasisRange], columns: usize, step: u32) {
    for range in ranges {
        let steps = &steps[range.layer * columns..][..columns];
        for element in 0..range.len {
            let sum = steps.iter().enumerate().fold(0.0, |sum, (direction, &along)| {
                sum + signed(along, basis_sign(range.key, element, direction, step))
            });
            values[range.first + element] -= sum;
        }
    }
}
