//! Twin of `shaders/sdd/`.

use crate::sparse::{BlockMask, Topology};
use crate::terms::Transpose;

/// SDD: the blocks of `op(lhs)[m, k] * op(rhs)[k, n]` that the topology stores; elements whose mask bit is 0 are 0.
pub fn sdd(
    lhs: &[f32],
    rhs: &[f32],
    topology: &Topology,
    out: &mut [f32],
    k: usize,
    transpose: Transpose,
    mask: Option<&BlockMask>,
) {
    let (m, n, b) = (topology.rows(), topology.cols(), topology.block());
    for (slot, (row, col)) in topology.coordinates().enumerate() {
        for within in 0..b * b {
            let (i, j) = (row * b + within / b, col * b + within % b);
            let mut sum = 0.0f32;
            for kk in 0..k {
                sum = transpose.lhs(lhs, [m, k], i, kk).mul_add(transpose.rhs(rhs, [k, n], kk, j), sum);
            }
            let element = slot * b * b + within;
            out[element] = if mask.is_none_or(|mask| mask.get(element)) { sum } else { 0.0 };
        }
    }
}
