//! From f32 to f16 and back: `shaders/convert/`, twins [`reference::narrow`](crate::reference::narrow) and
//! [`reference::widen`](crate::reference::widen).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::gpu::{Args, DType, Key, Recorder, Tensor};
use crate::sparse::Pattern;
use crate::{Error, Result, random};

/// How f32 becomes f16.
#[derive(Debug, Clone, Copy)]
pub enum Rounding<'a> {
    /// To the nearest, and to the even one of two.
    Nearest,
    /// Up or down by chance, so that the mean is the number itself: element `i` draws at counter `(i, step)` of `key`, or that
    /// of a block matrix with the block's place in the grid for its slot. Small updates of a weight that is kept as f16 are so
    /// not lost.
    Stochastic {
        /// Where draws come from.
        key: random::Key,
        /// Where the step's number stands.
        step: &'a Step,
        /// That of the values, if they are a block matrix's. What an element draws then depends on its block's place in the
        /// grid and not on its slot, so that a run that is resumed, with other slots, draws the same.
        pattern: Option<&'a Pattern>,
    },
}

/// Records `out = x`, element by element, where one of the two is f32 and the other f16.
///
/// From f32, numbers of 65,520 and more become infinities, and with [`Rounding::Stochastic`] some of those between 65,504 and
/// 65,536; NaN stays NaN. Numbers below 2^-14 become multiples of 2^-24, or 0 where the driver flushes them. From f16 nothing
/// is rounded, and `rounding` is not looked at.
///
/// # Errors
/// [`Error::Argument`] where shapes differ, the types are not one of each, or a pattern is not that of the values,
/// [`Error::Unsupported`] on a device without f16.
pub fn convert(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor, rounding: Rounding<'_>) -> Result<()> {
    let op = "convert";
    out.expect_shape(op, "out", x.shape())?;
    let narrows = match (x.dtype(), out.dtype()) {
        (DType::F32, DType::F16) => true,
        (DType::F16, DType::F32) => false,
        (from, to) => {
            let found = format!("of {to:?}, from {from:?}");
            return Err(Error::argument(op, "out", "of F16 from F32, or of F32 from F16", found));
        }
    };
    for window in Windows::new(rec.gpu(), x.len()).over(x).over(out).cut() {
        let (part, into) = (window.of(x)?, window.of(out)?);
        let mut args = Args::new().tensor("x", &part).tensor("out", &into).size(op, "n", window.count)?;
        if !narrows {
            rec.record(&Key::new(op, "widen").dtype(DType::F16), &args, elementwise(window.count))?;
            continue;
        }
        let mut kernel = Key::new(op, "narrow").with("half_out", true);
        if let Rounding::Stochastic { key, step, pattern } = rounding {
            args = args.tensor("now", step.tensor()).u32("key_0", key.0[0]).u32("key_1", key.0[1]);
            kernel = kernel.with("stochastic", true);
            if let Some(pattern) = pattern {
                let block = pattern.block();
                x.expect_shape(op, "x", &[pattern.nnz(), block, block])?;
                args = args.tensor("topology", pattern.packed());
                kernel = kernel.block(block).with("placed", true);
            }
            // Only a draw depends on where in the whole an element stands.
            if !window.is_whole() {
                args = args.size(op, "first", window.start)?;
                kernel = kernel.with("window", true);
            }
        }
        // An invocation converts four.
        rec.record(&kernel, &args, elementwise(window.count.div_ceil(4)))?;
    }
    Ok(())
}
