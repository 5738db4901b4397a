//! Activations on their own: `shaders/activation/`, twins in [`reference::activation`](crate::reference::activation).
//!
//! Inside a network they are fused into the matmuls; see [`Epilogue`](super::Epilogue).

use super::epilogue::{bind_activation, with_activation};
use super::{Activation, Dropping, elementwise};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};

/// Records `out = dropout(activation(pre))`; both of one shape.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ.
pub fn activation_forward(
    rec: &mut Recorder<'_>,
    pre: &Tensor,
    out: &Tensor,
    activation: Activation,
    dropout: Option<Dropping<'_>>,
) -> Result<()> {
    let op = "activation.forward";
    out.expect_shape(op, "out", pre.shape())?;
    let key =
        with_activation(Key::new("activation", "forward"), activation).with("dropout", dropout.is_some());
    let args = Args::new().tensor("pre", pre).tensor("out", out).size(op, "n", pre.len())?;
    rec.dispatch(&key, &bind_activation(op, args, activation, dropout)?, elementwise(pre.len()))
}

/// Records `out = grad * activation'(pre)`, through the dropout of the forward pass; all of one shape.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ.
pub fn activation_backward(
    rec: &mut Recorder<'_>,
    grad: &Tensor,
    pre: &Tensor,
    out: &Tensor,
    activation: Activation,
    dropout: Option<Dropping<'_>>,
) -> Result<()> {
    let op = "activation.backward";
    grad.expect_shape(op, "grad", pre.shape())?;
    out.expect_shape(op, "out", pre.shape())?;
    let key =
        with_activation(Key::new("activation", "backward"), activation).with("dropout", dropout.is_some());
    let args =
        Args::new().tensor("grad", grad).tensor("pre", pre).tensor("out", out).size(op, "n", pre.len())?;
    rec.dispatch(&key, &bind_activation(op, args, activation, dropout)?, elementwise(pre.len()))
}
