//! Random tensors: `shaders/random/`, twin [`reference::random`](crate::reference::random).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::random;

/// Records that `out` (u32) is filled with random bits; element `i` is drawn at counter `(i, step)`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `out` has another type.
pub fn random_bits(rec: &mut Recorder<'_>, out: &Tensor, key: random::Key, step: &Step) -> Result<()> {
    fill(rec, out, key, step, false)
}

/// Records that `out` (f32) is filled with uniform numbers in `[0, 1)`; element `i` is drawn at counter `(i, step)`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `out` has another type.
pub fn random_uniform(rec: &mut Recorder<'_>, out: &Tensor, key: random::Key, step: &Step) -> Result<()> {
    fill(rec, out, key, step, true)
}

fn fill(rec: &mut Recorder<'_>, out: &Tensor, key: random::Key, step: &Step, uniform: bool) -> Result<()> {
    let op = "random";
    for window in Windows::new(rec.gpu(), out.len()).over(out).cut() {
        let (out, split) = (window.of(out)?, !window.is_whole());
        let mut args = Args::new()
            .tensor("out", &out)
            .tensor("now", step.tensor())
            .size(op, "n", window.count)?
            .u32("key_0", key.0[0])
            .u32("key_1", key.0[1]);
        if split {
            args = args.size(op, "first", window.start)?;
        }
        let kernel = Key::new(op, "fill").with("uniform", uniform).with("window", split);
        rec.record(&kernel, &args, elementwise(window.count))?;
    }
    Ok(())
}
