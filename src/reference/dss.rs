//! Twin of `shaders/dss/`.

use crate::sparse::Topology;

/// DSS: `out[m, n] = S[m, k] * W[k, n]`, both block-sparse.
pub fn dss(topology: &Topology, values: &[f32], weight: &Topology, weight_values: &[f32], out: &mut [f32]) {
    let (b, n) = (topology.block(), weight.cols());
    for (i, out) in out.chunks_mut(n).enumerate() {
        for (j, out) in out.iter_mut().enumerate() {
            let mut sum = 0.0f32;
            for (left, place) in topology.row(i / b) {
                let Some((right, _)) = weight.col(j / b).find(|&(_, row)| row == place) else { continue };
                for kk in 0..b {
                    let x = values[(left * b + i % b) * b + kk];
                    sum = x.mul_add(weight_values[(right * b + kk) * b + j % b], sum);
                }
            }
            *out = sum;
        }
    }
}
