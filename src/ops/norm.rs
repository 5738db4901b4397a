//! Root mean square normalisation (Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019):
//! `shaders/norm/`, twins in [`reference::norm_forward`](crate::reference::norm_forward) and its neighbours.

use super::windows::Windows;
use super::{column_sums, elementwise};
use crate::Result;
use crate::gpu::{Args, Class, DType, Key, Recorder, Tensor};
use crate::terms::SUM_ROWS;

/// Records `scale[rows] = 1 / sqrt(mean(x^2) + epsilon)` of each row of `x[rows, columns]`, and
/// `out = x * scale * gain` with `gain[columns]`. `out` is f32 or f16, the others are f32.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::Unsupported`](crate::Error::Unsupported) for an `out` in f16 on a device without it.
pub fn norm_forward(
    rec: &mut Recorder<'_>,
    x: &Tensor,
    gain: &Tensor,
    scale: &Tensor,
    out: &Tensor,
    epsilon: f32,
) -> Result<()> {
    let op = "norm.forward";
    let [rows, columns] = x.matrix(op, "x")?;
    gain.expect_shape(op, "gain", &[columns])?;
    scale.expect_shape(op, "scale", &[rows])?;
    out.expect_shape(op, "out", x.shape())?;
    for window in Windows::new(rec.gpu(), rows).over(x).over(scale).over(out).cut() {
        let (x, scale, out) = (window.of(x)?, window.of(scale)?, window.of(out)?);
        let args = Args::new()
            .tensor("x", &x)
            .tensor("gain", gain)
            .tensor("scale", &scale)
            .tensor("out", &out)
            .size(op, "rows", window.count)?
            .size(op, "columns", columns)?
            .f32("epsilon", epsilon);
        let key = Key::new("norm", "forward").with("half_out", out.dtype() == DType::F16);
        rec.record(&key, &args, elementwise(window.count))?;
    }
    Ok(())
}

/// Records the gradient of `x` from the gradient `grad[rows, columns]` of [`norm_forward`]'s output. With `add`, it
/// is added to `out`, for example to the gradient of a residual connection.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn norm_backward(
    rec: &mut Recorder<'_>,
    grad: &Tensor,
    x: &Tensor,
    gain: &Tensor,
    scale: &Tensor,
    out: &Tensor,
    add: bool,
) -> Result<()> {
    let op = "norm.backward";
    let [rows, columns] = grad.matrix(op, "grad")?;
    x.expect_shape(op, "x", grad.shape())?;
    gain.expect_shape(op, "gain", &[columns])?;
    scale.expect_shape(op, "scale", &[rows])?;
    out.expect_shape(op, "out", grad.shape())?;
    for window in Windows::new(rec.gpu(), rows).over(grad).over(x).over(scale).over(out).cut() {
        let (grad, x, scale, out) = (window.of(grad)?, window.of(x)?, window.of(scale)?, window.of(out)?);
        let args = Args::new()
            .tensor("grad", &grad)
            .tensor("x", &x)
            .tensor("gain", gain)
            .tensor("scale", &scale)
            .tensor("out", &out)
            .size(op, "rows", window.count)?
            .size(op, "columns", columns)?;
        rec.record(&Key::new("norm", "backward").with("add", add), &args, elementwise(window.count))?;
    }
    Ok(())
}

/// Records the gradient of the gain, `out[columns] = sum over rows of grad * x * scale`.
///
/// Summation order and scratch are those of [`column_sums`].
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn norm_gain(
    rec: &mut Recorder<'_>,
    grad: &Tensor,
    x: &Tensor,
    scale: &Tensor,
    out: &Tensor,
) -> Result<()> {
    let op = "norm.gain";
    let [rows, columns] = grad.matrix(op, "grad")?;
    x.expect_shape(op, "x", grad.shape())?;
    scale.expect_shape(op, "scale", &[rows])?;
    out.expect_shape(op, "out", &[columns])?;
    let chunks = rows.div_ceil(SUM_ROWS);
    if chunks == 0 {
        // No rows: the sum is 0.
        return column_sums(rec, grad, out, false);
    }
    if chunks == 1 {
        return gain(rec, grad, x, scale, out);
    }
    let partial = rec.gpu().alloc::<f32>(Class::Scratch, "partial sums", &[chunks, columns])?;
    gain(rec, grad, x, scale, &partial)?;
    column_sums(rec, &partial, out, false)
}

/// Records the partial sums of every chunk into consecutive rows of `out`.
fn gain(rec: &mut Recorder<'_>, grad: &Tensor, x: &Tensor, scale: &Tensor, out: &Tensor) -> Result<()> {
    let op = "norm.gain";
    let [rows, columns] = grad.matrix(op, "grad")?;
    for window in Windows::new(rec.gpu(), rows).by(SUM_ROWS).over(grad).over(x).over(scale).cut() {
        let (grad, x, scale) = (window.of(grad)?, window.of(x)?, window.of(scale)?);
        let mut args = Args::new()
            .tensor("grad", &grad)
            .tensor("x", &x)
            .tensor("scale", &scale)
            .tensor("out", out)
            .size(op, "rows", window.count)?
            .size(op, "columns", columns)?;
        if !window.is_whole() {
            args = args.size(op, "first", window.start / SUM_ROWS * columns)?;
        }
        let key = Key::new("norm", "gain").with("window", !window.is_whole());
        rec.record(&key, &args, elementwise(window.count.div_ceil(SUM_ROWS) * columns))?;
    }
    Ok(())
}
