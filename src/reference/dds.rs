//! Twin of `shaders/dds/`.

use super::Epilogue;
use crate::sparse::Topology;
use crate::terms::Transpose;

/// DDS: `out[m, n] = op(lhs)[m, k] * op(S)[k, n]` for block-sparse S, then the epilogue.
pub fn dds(
    lhs: &[f32],
    topology: &Topology,
    values: &[f32],
    out: &mut [f32],
    m: usize,
    transpose: Transpose,
    mut epilogue: Epilogue<'_>,
) {
    let b = topology.block();
    let (k, n) =
        if transpose.rhs { (topology.cols(), topology.rows()) } else { (topology.rows(), topology.cols()) };
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0f32;
            let mut add = |slot: usize, place: usize| {
                for kk in 0..b {
                    let within = if transpose.rhs { (j % b) * b + kk } else { kk * b + j % b };
                    let x = transpose.lhs(lhs, [m, k], i, place * b + kk);
                    sum = x.mul_add(values[slot * b * b + within], sum);
                }
            };
            if transpose.rhs {
                topology.row(j / b).for_each(|(slot, place)| add(slot, place));
            } else {
                topology.col(j / b).for_each(|(slot, place)| add(slot, place));
            }
            out[i * n + j] = epilogue.apply(sum, i * n + j, j);
        }
    }
}
