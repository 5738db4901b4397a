//! Fills and blends: `shaders/fill/`, twins in [`reference::fill`](crate::reference::fill).

use super::elementwise;
use super::windows::Windows;
use crate::Result;
use crate::gpu::{Args, DType, Key, Recorder, Tensor};

/// Records that every word of `out`, of any 32-bit type, becomes `bits`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the elements of `out` are not 32 bits wide.
pub fn fill(rec: &mut Recorder<'_>, out: &Tensor, bits: u32) -> Result<()> {
    let words = out.reinterpret(DType::U32)?;
    for window in Windows::new(rec.gpu(), out.len()).over(&words).cut() {
        let words = window.of(&words)?;
        let args = Args::new().tensor("out", &words).size("fill", "n", window.count)?.u32("value", bits);
        rec.record(&Key::new("fill", "words"), &args, elementwise(window.count))?;
    }
    Ok(())
}

/// Records `out = a * x + b * out`; where `b` is 0, `out` is not read and may hold NaN.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ.
pub fn blend(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor, [a, b]: [f32; 2]) -> Result<()> {
    let op = "fill.blend";
    out.expect_shape(op, "out", x.shape())?;
    for window in Windows::new(rec.gpu(), x.len()).over(x).over(out).cut() {
        let (x, out) = (window.of(x)?, window.of(out)?);
        let quads = x.len().is_multiple_of(4);
        let cells = if quads { x.len() / 4 } else { x.len() };
        let args =
            Args::new().tensor("x", &x).tensor("out", &out).size(op, "n", cells)?.f32("a", a).f32("b", b);
        rec.record(&Key::new("fill", "blend").with("quads", quads), &args, elementwise(cells))?;
    }
    Ok(())
}
