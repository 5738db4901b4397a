//! Bit sets of blocks, one bit per grid position: `shaders/bits/`, twins in
//! [`reference::bits`](crate::reference::bits).

use super::{elementwise, fill};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::sparse::Pattern;
use crate::terms::SetOp;

/// Records `out = a op b`, for three distinct tensors of one shape.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ.
pub fn combine(rec: &mut Recorder<'_>, a: &Tensor, b: &Tensor, op: SetOp, out: &Tensor) -> Result<()> {
    let name = "bits.combine";
    b.expect_shape(name, "b", a.shape())?;
    out.expect_shape(name, "out", a.shape())?;
    let key = Key::new("bits", "combine").with("or", op == SetOp::Or).with("and_not", op == SetOp::AndNot);
    let args = Args::new().tensor("a", a).tensor("b", b).tensor("out", out).size(name, "n", a.len())?;
    rec.record(&key, &args, elementwise(a.len()))
}

/// Records the population count of `set`, stored in the first word of `out`, or added to it where `add`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where types do not fit.
pub fn count(rec: &mut Recorder<'_>, set: &Tensor, out: &Tensor, add: bool) -> Result<()> {
    let args = Args::new().tensor("members", set).tensor("out", out).size("bits.count", "n", set.len())?;
    rec.record(&Key::new("bits", "count").with("add", add), &args, 1)
}

/// Records that `set` becomes the set of the pattern's stored blocks.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the set is of another grid.
pub fn present(rec: &mut Recorder<'_>, pattern: &Pattern, set: &Tensor) -> Result<()> {
    fill(rec, set, 0)?;
    add_present(rec, pattern, set)
}

/// Records the union of `set` with the pattern's stored blocks, in place.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the set is of another grid.
pub fn add_present(rec: &mut Recorder<'_>, pattern: &Pattern, set: &Tensor) -> Result<()> {
    set.expect_shape("bits.present", "set", &[pattern.places().div_ceil(32)])?;
    let args = Args::new().tensor("topology", pattern.packed()).tensor("members", set);
    rec.record(&Key::new("bits", "present"), &args, elementwise(pattern.nnz()))
}
