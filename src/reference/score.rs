//! Twins of `shaders/score/`.

use crate::sparse::Topology;
use crate::terms::{ProductScore, ValueScore};

/// Marks block rows without gradient: all of `dy[rows, row_blocks * block]` in their columns is 0.
pub fn score_silent(dy: &[f32], block: usize, silent: &mut [u32]) {
    let width = silent.len() * block;
    for (row, silent) in silent.iter_mut().enumerate() {
        let columns = row * block..(row + 1) * block;
        *silent = dy.chunks(width).all(|dy| dy[columns.clone()].iter().all(|&dy| dy == 0.0)).into();
    }
}

/// Score of each stored block, at its grid position; other positions keep their value.
pub fn score_values(
    topology: &Topology,
    values: &[f32],
    other: Option<&[f32]>,
    scores: &mut [f32],
    what: ValueScore,
) {
    let area = topology.block() * topology.block();
    for (slot, place) in topology.places().enumerate() {
        let mut sums = [0.0f32; 4];
        for i in slot * area..(slot + 1) * area {
            let x = values[i] * other.map_or(1.0, |other| other[i]);
            let sum = &mut sums[i % 4];
            match what {
                ValueScore::Abs | ValueScore::Times => *sum += x.abs(),
                ValueScore::Square => *sum += x * x,
                ValueScore::Largest => *sum = sum.max(x.abs()),
                ValueScore::Positive | ValueScore::Negative | ValueScore::SignedTimes => *sum += x,
            }
        }
        scores[place] = match what {
            ValueScore::Largest => sums.into_iter().fold(0.0, f32::max),
            _ => {
                let sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
                match what {
                    ValueScore::Positive if sum <= 0.0 => -1.0,
                    ValueScore::Negative if sum >= 0.0 => -1.0,
                    ValueScore::Negative => -sum,
                    _ => sum,
                }
            }
        };
    }
}

/// Score of each block of `lhs^T * rhs` for `lhs[k, m]` and `rhs[k, n]`.
pub fn score_product(
    lhs: &[f32],
    rhs: &[f32],
    scores: &mut [f32],
    [m, n, k]: [usize; 3],
    block: usize,
    what: ProductScore,
    scales: Option<[&[f32]; 2]>,
) {
    reduce(scores, n / block, block, &|i, j| {
        let t = (0..k).fold(0.0f32, |t, kk| lhs[kk * m + i].mul_add(rhs[kk * n + j], t));
        match scales {
            Some([lhs_scale, rhs_scale]) => measured(t * lhs_scale[i] * rhs_scale[j], what),
            None => measured(t, what),
        }
    });
}

/// Score of each block of `S^T * rhs[rows]` for block-sparse S and `rhs` with rows of `n`: row `r` of S pairs with
/// row `rows[r]`, and is ignored where there is none.
pub fn score_routed(
    topology: &Topology,
    values: &[f32],
    (rhs, n): (&[f32], usize),
    rows: &[u32],
    scores: &mut [f32],
    what: ProductScore,
) {
    let b = topology.block();
    reduce(scores, n / b, b, &|i, j| {
        let mut t = 0.0f32;
        for (slot, place) in topology.col(i / b) {
            for kk in 0..b {
                let row = rows[place * b + kk] as usize;
                if row < rhs.len() / n {
                    t = values[(slot * b + kk) * b + i % b].mul_add(rhs[row * n + j], t);
                }
            }
        }
        measured(t, what)
    });
}

/// Contribution of an element of the product to its block's score.
fn measured(t: f32, what: ProductScore) -> f32 {
    match what {
        ProductScore::Square => t * t,
        ProductScore::Sum => t,
        ProductScore::Abs | ProductScore::Cosine => t.abs(),
    }
}

/// Sums element scores per block in the kernels' order.
fn reduce(scores: &mut [f32], across: usize, block: usize, element: &dyn Fn(usize, usize) -> f32) {
    for (place, score) in scores.iter_mut().enumerate() {
        let (row, col) = (place / across * block, place % across * block);
        let mut total = 0.0f32;
        for quad in (col..col + block).step_by(4) {
            let mut down = 0.0f32;
            for octet in (row..row + block).step_by(8) {
                let mut sums = [0.0f32; 4];
                for i in octet..octet + 8 {
                    for (j, sum) in (quad..quad + 4).zip(&mut sums) {
                        *sum += element(i, j);
                    }
                }
                down += (sums[0] + sums[1]) + (sums[2] + sums[3]);
            }
            total += down;
        }
        *score = total.abs();
    }
}

/// Excludes the members of a set from selection.
pub fn score_exclude(set: &[u32], scores: &mut [f32]) {
    for (i, score) in scores.iter_mut().enumerate() {
        if set[i / 32] >> (i % 32) & 1 == 1 {
            *score = -1.0;
        }
    }
}

/// Excludes stored blocks from selection, except members of a set.
pub fn score_exclude_stored(topology: &Topology, except: Option<&[u32]>, scores: &mut [f32]) {
    for place in topology.places() {
        if except.is_none_or(|except| except[place / 32] >> (place % 32) & 1 == 0) {
            scores[place] = -1.0;
        }
    }
}

/// One update of connection strengths; see [`ops::score_connect`](crate::ops::score_connect).
pub fn score_connect(grads: &[f32], connections: &mut [f32], col_blocks: usize, rate: f32, cost: f32) {
    for (grads, connections) in grads.chunks(col_blocks).zip(connections.chunks_mut(col_blocks)) {
        let largest = grads.iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
        let scale = if largest > 1e-30 { 1.0 / largest } else { 0.0 };
        for (connection, g) in connections.iter_mut().zip(grads) {
            *connection = (-rate).mul_add(g.mul_add(scale, cost), *connection).max(-1.0);
        }
    }
}
