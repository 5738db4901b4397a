//! Hidden units of experts: `shaders/experts/`, twins in [`reference::experts`](crate::reference::experts_activate).

use super::epilogue::with_activation;
use super::{Activation, elementwise};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::sparse::BlockMatrix;

/// Records `out = activation(pre)`, or `out = activation(pre) * up`, on the stored blocks. All are block matrices of
/// one pattern, such as a [`Routing`](crate::sparse::Routing)'s; each must fit one binding.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::Limit`](crate::Error::Limit) where they do not fit the device.
pub fn experts_activate(
    rec: &mut Recorder<'_>,
    pre: &BlockMatrix,
    up: Option<&BlockMatrix>,
    activation: Activation,
    out: &BlockMatrix,
) -> Result<()> {
    let op = "experts.activate";
    let pattern = pre.pattern();
    let shape = pre.values().shape();
    out.values().expect_shape(op, "out", shape)?;
    let mut args = Args::new()
        .tensor("pre", pre.values())
        .tensor("out", out.values())
        .tensor("topology", pattern.packed())
        .f32("slope", slope(activation));
    if let Some(up) = up {
        up.values().expect_shape(op, "up", shape)?;
        args = args.tensor("up", up.values());
    }
    let key = Key::new("experts", "activate").block(pattern.block()).with("gated", up.is_some());
    rec.record(&with_activation(key, activation), &args, elementwise(pattern.elements() / 4))
}

/// Operands of [`experts_backward`]: block matrices of one pattern, and vectors with one entry per row.
#[derive(Debug, Clone, Copy)]
pub struct ExpertsBackward<'a> {
    /// In: gradient of the hidden units before weighting. Out: weighted gradient of `pre`.
    pub grad: &'a BlockMatrix,
    /// Pre-activation.
    pub pre: &'a BlockMatrix,
    /// In: gate factor of the activation, if gated. Out: its weighted gradient.
    pub up: Option<&'a BlockMatrix>,
    /// Out: weighted hidden units, `weight * h`.
    pub hidden: &'a BlockMatrix,
    /// `[rows]`: weight of each row, 0 for unused rows; see [`route_values`](super::route_values).
    pub weights: &'a Tensor,
    /// `[rows]`, out: gradient of each row's weight. Rows of unused tiles keep their value.
    pub dots: &'a Tensor,
}

/// Records the backward pass of the hidden units and of the combine weights. Each matrix must fit one binding.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::Limit`](crate::Error::Limit) where they do not fit the device.
pub fn experts_backward(
    rec: &mut Recorder<'_>,
    on: ExpertsBackward<'_>,
    activation: Activation,
) -> Result<()> {
    let op = "experts.backward";
    let pattern = on.pre.pattern();
    let shape = on.pre.values().shape();
    on.grad.values().expect_shape(op, "grad", shape)?;
    on.hidden.values().expect_shape(op, "hidden", shape)?;
    on.weights.expect_shape(op, "weights", &[pattern.rows()])?;
    on.dots.expect_shape(op, "dots", &[pattern.rows()])?;
    let mut args = Args::new()
        .tensor("grad", on.grad.values())
        .tensor("pre", on.pre.values())
        .tensor("hidden", on.hidden.values())
        .tensor("weights", on.weights)
        .tensor("dots", on.dots)
        .tensor("topology", pattern.packed())
        .f32("slope", slope(activation));
    if let Some(up) = on.up {
        up.values().expect_shape(op, "up", shape)?;
        args = args.tensor("up", up.values());
    }
    let block = pattern.block();
    let key = Key::new("experts", "backward").block(block).with("gated", on.up.is_some());
    // Rows per workgroup, as in the shader. Rows without blocks keep their value.
    let rows = block.min(256 / (block / 4));
    let workgroups = if pattern.nnz() == 0 { 0 } else { pattern.rows() / rows };
    rec.record(&with_activation(key, activation), &args, workgroups as u64)
}

fn slope(activation: Activation) -> f32 {
    if let Activation::AllRelu { slope } = activation { slope } else { 0.0 }
}
