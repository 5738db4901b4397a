//! Layer normalisation (Ba, Kiros and Hinton, "Layer Normalization", 2016): `shaders/layer_norm/`, twins in
//! [`reference::layer_norm_forward`](crate::reference::layer_norm_forward) and its neighbours.

use super::windows::Windows;
use super::{column_sums, elementwise};
use crate::Result;
use crate::gpu::{Args, Class, DType, Key, Recorder, Tensor};
use crate::terms::SUM_ROWS;

/// Records mean and `scale = 1 / sqrt(variance + epsilon)` of each row of `x[rows, columns]` into `moments[rows, 2]`, and
/// `out = (x - mean) * scale * gain + bias` with `gain[columns]` and `bias[columns]`. `out` is f32 or f16, the others are f32.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::Unsupported`](crate::Error::Unsupported) for an `out` in f16 on a device without it.
pub fn layer_norm_forward(
    rec: &mut Recorder<'_>,
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    moments: &Tensor,
    out: &Tensor,
    epsilon: f32,
) -> Result<()> {
    let op = "layer_norm.forward";
    let [rows, columns] = x.matrix(op, "x")?;
    gain.expect_shape(op, "gain", &[columns])?;
    bias.expect_shape(op, "bias", &[columns])?;
    moments.expect_shape(op, "moments", &[rows, 2])?;
    out.expect_shape(op, "out", x.shape())?;
    for window in Windows::new(rec.gpu(), rows).over(x).over(moments).over(out).cut() {
        let (x, moments, out) = (window.of(x)?, window.of(moments)?, window.of(out)?);
        let args = Args::new()
            .tensor("x", &x)
            .tensor("gain", gain)
            .tensor("bias", bias)
            .tensor("moments", &moments)
            .tensor("out", &out)
            .size(op, "rows", window.count)?
            .size(op, "columns", columns)?
            .f32("epsilon", epsilon);
        let key = Key::new("layer_norm", "forward").with("half_out", out.dtype() == DType::F16);
        rec.record(&key, &args, elementwise(window.count))?;
    }
    Ok(())
}

/// Records the gradient of `x` from the gradient `grad[rows, columns]` of [`layer_norm_forward`]'s output. With `add`, it
/// is added to `out`, for example to the gradient of a residual connection.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn layer_norm_backward(
    rec: &mut Recorder<'_>,
    grad: &Tensor,
    x: &Tensor,
    gain: &Tensor,
    moments: &Tensor,
    out: &Tensor,
    add: bool,
) -> Result<()> {
    let op = "layer_norm.backward";
    let [rows, columns] = grad.matrix(op, "grad")?;
    x.expect_shape(op, "x", grad.shape())?;
    gain.expect_shape(op, "gain", &[columns])?;
    moments.expect_shape(op, "moments", &[rows, 2])?;
    out.expect_shape(op, "out", grad.shape())?;
    for window in Windows::new(rec.gpu(), rows).over(grad).over(x).over(moments).over(out).cut() {
        let (grad, x, moments, out) = (window.of(grad)?, window.of(x)?, window.of(moments)?, window.of(out)?);
        let args = Args::new()
            .tensor("grad", &grad)
            .tensor("x", &x)
            .tensor("gain", gain)
            .tensor("moments", &moments)
            .tensor("out", &out)
            .size(op, "rows", window.count)?
            .size(op, "columns", columns)?;
        rec.record(&Key::new("layer_norm", "backward").with("add", add), &args, elementwise(window.count))?;
    }
    Ok(())
}

/// Records the gradient of the gain, `out[columns] = sum over rows of grad * (x - mean) * scale`.
///
/// Summation order and scratch are those of [`column_sums`].
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn layer_norm_gain(
    rec: &mut Recorder<'_>,
    grad: &Tensor,
    x: &Tensor,
    moments: &Tensor,
    out: &Tensor,
) -> Result<()> {
    let op = "layer_norm.gain";
    let [rows, columns] = grad.matrix(op, "grad")?;
    x.expect_shape(op, "x", grad.shape())?;
    moments.expect_shape(op, "moments", &[rows, 2])?;
    out.expect_shape(op, "out", &[columns])?;
    let chunks = rows.div_ceil(SUM_ROWS);
    if chunks == 0 {
        // No rows: the sum is 0.
        return column_sums(rec, grad, out, false);
    }
    if chunks == 1 {
        return gain(rec, grad, x, moments, out);
    }
    let partial = rec.gpu().alloc::<f32>(Class::Scratch, "partial sums", &[chunks, columns])?;
    gain(rec, grad, x, moments, &partial)?;
    column_sums(rec, &partial, out, false)
}

/// Records the partial sums of every chunk into consecutive rows of `out`.
fn gain(rec: &mut Recorder<'_>, grad: &Tensor, x: &Tensor, moments: &Tensor, out: &Tensor) -> Result<()> {
    let op = "layer_norm.gain";
    let [rows, columns] = grad.matrix(op, "grad")?;
    for window in Windows::new(rec.gpu(), rows).by(SUM_ROWS).over(grad).over(x).over(moments).cut() {
        let (grad, x, moments) = (window.of(grad)?, window.of(x)?, window.of(moments)?);
        let mut args = Args::new()
            .tensor("grad", &grad)
            .tensor("x", &x)
            .tensor("moments", &moments)
            .tensor("out", out)
            .size(op, "rows", window.count)?
            .size(op, "columns", columns)?;
        if !window.is_whole() {
            args = args.size(op, "first", window.start / SUM_ROWS * columns)?;
        }
        let key = Key::new("layer_norm", "gain").with("window", !window.is_whole());
        rec.record(&key, &args, elementwise(window.count.div_ceil(SUM_ROWS) * columns))?;
    }
    Ok(())
}
