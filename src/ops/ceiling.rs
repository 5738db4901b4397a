//! As fast as memory moves, and as fast as the device computes: `shaders/ceiling/`, twins in
//! [`reference::ceiling`](crate::reference::ceiling). What other kernels are measured by.

use super::elementwise;
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};

pub use crate::reference::ceiling::MULTIPLY_ADDS;

/// Records `out = x`, both of `f32`, which must fit one binding.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ, [`Error::Limit`](crate::Error::Limit) for a size the device
/// does not bind.
pub fn copy(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor) -> Result<()> {
    let op = "ceiling.copy";
    out.expect_shape(op, "out", x.shape())?;
    let args = Args::new().tensor("x", x).tensor("out", out).size(op, "n", x.len())?;
    rec.record(&Key::new("ceiling", "copy"), &args, elementwise(x.len().div_ceil(4)))
}

/// Records so many `rounds` of [`MULTIPLY_ADDS`] fused multiply-adds for each element of `out`, of `f32`, in registers:
/// twelve sums, which begin at the element's index and the eleven after it, go from `s` to `s * factor + addend`. `out` gets
/// the sum of all twelve.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for a tensor that is too long.
pub fn fma(rec: &mut Recorder<'_>, out: &Tensor, rounds: u32, [factor, addend]: [f32; 2]) -> Result<()> {
    let op = "ceiling.fma";
    let args = Args::new()
        .tensor("out", out)
        .size(op, "n", out.len())?
        .u32("rounds", rounds)
        .f32("factor", factor)
        .f32("addend", addend);
    rec.record(&Key::new("ceiling", "fma"), &args, elementwise(out.len()))
}
