//! Standalone activations: `shaders/activation/`, twins in [`reference::activation`](crate::reference::activation).
//!
//! Inside a network they are fused into the matmuls; see [`Epilogue`](super::Epilogue).

use super::epilogue::{bind_activation, with_activation};
use super::windows::Windows;
use super::{Activation, Dropping, elementwise, float_type};
use crate::Result;
use crate::gpu::{Args, DType, Key, Recorder, Tensor};

/// Records `out = dropout(activation(pre))`, elementwise. Both tensors have one shape and one type, f32 or f16.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes or types differ.
pub fn activation_forward(
    rec: &mut Recorder<'_>,
    pre: &Tensor,
    out: &Tensor,
    activation: Activation,
    dropout: Option<Dropping<'_>>,
) -> Result<()> {
    let op = "activation.forward";
    out.expect_shape(op, "out", pre.shape())?;
    record(rec, op, "forward", &[("pre", pre), ("out", out)], activation, dropout)
}

/// Records `out = grad * activation'(pre)` through the forward pass's dropout, elementwise. All tensors have one
/// shape and one type, f32 or f16.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes or types differ.
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
    record(rec, op, "backward", &[("grad", grad), ("pre", pre), ("out", out)], activation, dropout)
}

fn record(
    rec: &mut Recorder<'_>,
    op: &str,
    name: &'static str,
    tensors: &[(&'static str, &Tensor)],
    activation: Activation,
    dropout: Option<Dropping<'_>>,
) -> Result<()> {
    let dtype = float_type(tensors[0].1);
    let key = Key::new("activation", name).dtype(dtype).with("half_out", dtype == DType::F16);
    let key = with_activation(key, activation).with("dropout", dropout.is_some());
    let windows = Windows::new(rec.gpu(), tensors[0].1.len());
    for window in tensors.iter().fold(windows, |windows, (_, tensor)| windows.over(tensor)).cut() {
        let views = tensors.iter().map(|(_, tensor)| window.of(tensor)).collect::<Result<Vec<_>>>()?;
        let mut args = Args::new().size(op, "n", window.count)?;
        for ((name, _), view) in tensors.iter().zip(&views) {
            args = args.tensor(name, view);
        }
        // Only dropout draws depend on an element's index in the whole tensor.
        let drawn = dropout.is_some() && !window.is_whole();
        if drawn {
            args = args.size(op, "first", window.start)?;
        }
        let args = bind_activation(op, args, activation, dropout)?;
        rec.record(&key.clone().with("window", drawn), &args, elementwise(window.count))?;
    }
    Ok(())
}
