//! Twin of `shaders/dsd/`.

use crate::sparse::Topology;
use crate::terms::Transpose;

/// DSD: `out[m, n] = op(S)[m, k] * op(rhs)[k, n]` for block-sparse S.
pub fn dsd(
    topology: &Topology,
    values: &[f32],
    rhs: &[f32],
    out: &mut [f32],
    n: usize,
    transpose: Transpose,
) {
    let b = topology.block();
    let (m, k) =
        if transpose.lhs { (topology.cols(), topology.rows()) } else { (topology.rows(), topology.cols()) };
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0f32;
            let mut add = |slot: usize, place: usize| {
                for kk in 0..b {
                    let within = if transpose.lhs { kk * b + i % b } else { (i % b) * b + kk };
                    let y = transpose.rhs(rhs, [k, n], place * b + kk, j);
                    sum = values[slot * b * b + within].mul_add(y, sum);
                }
            };
            if transpose.lhs {
                topology.col(i / b).for_each(|(slot, place)| add(slot, place));
            } else {
                topology.row(i / b).for_each(|(slot, place)| add(slot, place));
            }
            out[i * n + j] = sum;
        }
    }
}
