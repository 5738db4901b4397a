//! Twin of `shaders/sds/`.

use crate::sparse::Topology;

/// SDS: the blocks of `lhs[m, k] * W[n, k]^T` that `topology` stores, for block-sparse W.
pub fn sds(lhs: &[f32], weight: &Topology, values: &[f32], topology: &Topology, out: &mut [f32]) {
    let (b, k) = (topology.block(), weight.cols());
    for (slot, (row, col)) in topology.coordinates().enumerate() {
        for within in 0..b * b {
            let (i, j) = (within / b, within % b);
            let mut sum = 0.0f32;
            for (block, place) in weight.row(col) {
                for kk in 0..b {
                    let x = lhs[(row * b + i) * k + place * b + kk];
                    sum = x.mul_add(values[(block * b + j) * b + kk], sum);
                }
            }
            out[slot * b * b + within] = sum;
        }
    }
}
