//! Twins of `shaders/experts/`.

use crate::sparse::Topology;
use crate::terms::Activation;

/// Activation of the hidden units: `out = activation(pre)`, or `out = activation(pre) * up`.
pub fn experts_activate(pre: &[f32], up: Option<&[f32]>, out: &mut [f32], activation: Activation) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = activation.apply(pre[i]) * up.map_or(1.0, |up| up[i]);
    }
}

/// Operands of [`experts_backward`]; see [`ops::ExpertsBackward`](crate::ops::ExpertsBackward).
#[derive(Debug)]
pub struct ExpertsBackward<'a> {
    /// In: gradient of the hidden units before weighting. Out: weighted gradient of `pre`.
    pub grad: &'a mut [f32],
    /// Pre-activation.
    pub pre: &'a [f32],
    /// In: gate factor of the activation, if gated. Out: its weighted gradient.
    pub up: Option<&'a mut [f32]>,
    /// Out: weighted hidden units.
    pub hidden: &'a mut [f32],
    /// Weight of each row.
    pub weights: &'a [f32],
    /// Out: gradient of each row's weight, in rows of tiles that have a block.
    pub dots: &'a mut [f32],
}

/// Backward pass of the experts' hidden units and of the combine weights.
pub fn experts_backward(topology: &Topology, on: ExpertsBackward<'_>, activation: Activation) {
    let ExpertsBackward { grad, pre, mut up, hidden, weights, dots } = on;
    let b = topology.block();
    for tile in (0..topology.row_blocks()).filter(|&tile| topology.row(tile).len() > 0) {
        for row in 0..b {
            let weight = weights[tile * b + row];
            let mut sums = vec![0.0f32; b];
            for (slot, _) in topology.row(tile) {
                for (column, sum) in sums.iter_mut().enumerate() {
                    let i = (slot * b + row) * b + column;
                    let (g, active) = (grad[i], activation.apply(pre[i]));
                    let u = up.as_ref().map_or(1.0, |up| up[i]);
                    let h = active * u;
                    *sum = g.mul_add(h, *sum);
                    hidden[i] = weight * h;
                    grad[i] = weight * g * activation.derivative(pre[i]) * u;
                    if let Some(up) = &mut up {
                        up[i] = weight * g * active;
                    }
                }
            }
            let quad = |sums: &[f32]| (sums[0] + sums[1]) + (sums[2] + sums[3]);
            dots[tile * b + row] = sums.chunks(4).map(quad).fold(0.0, |sum, quad| sum + quad);
        }
    }
}
