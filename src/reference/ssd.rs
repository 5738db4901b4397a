//! Twin of `shaders/ssd/`.

use crate::sparse::Topology;

/// SSD: the blocks of `S[k, m]^T * rhs[k, n]` that `weight` stores, for block-sparse S.
pub fn ssd(topology: &Topology, values: &[f32], rhs: &[f32], weight: &Topology, out: &mut [f32]) {
    let (b, n) = (topology.block(), weight.cols());
    for (slot, (row, col)) in weight.coordinates().enumerate() {
        for within in 0..b * b {
            let (i, j) = (within / b, within % b);
            let mut sum = 0.0f32;
            for (block, place) in topology.col(row) {
                for kk in 0..b {
                    let x = values[(block * b + kk) * b + i];
                    sum = x.mul_add(rhs[(place * b + kk) * n + col * b + j], sum);
                }
            }
            out[slot * b * b + within] = sum;
        }
    }
}
