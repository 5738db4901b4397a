//! What fills a tensor: `shaders/fill/`, twins in [`reference::fill`](crate::reference::fill).

use super::elementwise;
use crate::Result;
use crate::gpu::{Args, DType, Key, Recorder, Tensor};

/// Records that every word of `out`, of whatever 32-bit type, becomes `bits`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the elements of `out` are not 32 bits wide.
pub fn fill(rec: &mut Recorder<'_>, out: &Tensor, bits: u32) -> Result<()> {
    let words = out.reinterpret(DType::U32)?;
    let args = Args::new().tensor("out", &words).size("fill", "n", out.len())?.u32("value", bits);
    rec.dispatch(&Key::new("fill", "words"), &args, elementwise(out.len()))
}

/// Records `out = a * x + b * out`; where `b` is 0, whatever `out` held.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ.
pub fn blend(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor, [a, b]: [f32; 2]) -> Result<()> {
    let op = "fill.blend";
    out.expect_shape(op, "out", x.shape())?;
    let args = Args::new().tensor("x", x).tensor("out", out).size(op, "n", x.len())?.f32("a", a).f32("b", b);
    rec.dispatch(&Key::new("fill", "blend"), &args, elementwise(x.len()))
}
