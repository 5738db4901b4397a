//! Ceilings of the device, memory bandwidth and peak arithmetic: `shaders/ceiling/`, twins in
//! [`reference::ceiling`](crate::reference::ceiling). Benchmarks report other kernels relative to them.

use super::elementwise;
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};

pub use crate::terms::ceiling::MULTIPLY_ADDS;

/// Records the copy `out = x` of two f32 tensors; each must fit one binding.
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

/// Records `rounds` of [`MULTIPLY_ADDS`] fused multiply-adds in registers for each element of `out` (f32). Element
/// `i` has twelve accumulators, which start at `i` to `i + 11` and are updated by `s * factor + addend`; `out`
/// receives their sum.
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
