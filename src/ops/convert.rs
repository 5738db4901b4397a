//! Casts between f32 and f16: `shaders/convert/`, twins [`reference::to_f16`](crate::reference::to_f16) and
//! [`reference::to_f32`](crate::reference::to_f32).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::gpu::{Args, DType, Key, Recorder, Tensor};
use crate::sparse::Pattern;
use crate::{Error, Result, random};

/// Rounding of a cast from f32 to f16.
#[derive(Debug, Clone, Copy)]
pub enum Rounding<'a> {
    /// To nearest, ties to even.
    Nearest,
    /// Stochastic: up or down at random with the exact value as expectation, so that small updates of an f16 weight
    /// are not lost on average. Element `i` draws at counter `(i, step)` of `key`.
    Stochastic {
        /// Key of the draws.
        key: random::Key,
        /// Step whose number is part of each draw.
        step: &'a Step,
        /// Pattern of a block matrix's values. Draws are then indexed by grid position instead of slot: a resumed
        /// run, which has other slots, draws the same numbers.
        pattern: Option<&'a Pattern>,
    },
}

/// Records the cast `out = x`, elementwise, where one tensor is f32 and the other f16.
///
/// To f16: magnitudes from 65,520 on become infinite (with [`Rounding::Stochastic`], some between 65,504 and 65,536);
/// NaN stays NaN. Magnitudes below 2^-14 become multiples of 2^-24, or 0 where the driver flushes subnormals. The
/// cast to f32 is exact and ignores `rounding`.
///
/// # Errors
/// [`Error::Argument`] where shapes differ, the types are not f32 and f16, or a pattern does not belong to the
/// values; [`Error::Unsupported`] on a device without f16.
pub fn convert(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor, rounding: Rounding<'_>) -> Result<()> {
    let op = "convert";
    out.expect_shape(op, "out", x.shape())?;
    let to_f16 = match (x.dtype(), out.dtype()) {
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
        if !to_f16 {
            rec.record(&Key::new(op, "to_f32").dtype(DType::F16), &args, elementwise(window.count))?;
            continue;
        }
        let mut kernel = Key::new(op, "to_f16").with("half_out", true);
        if let Rounding::Stochastic { key, step, pattern } = rounding {
            args = args.tensor("now", step.tensor()).u32("key_0", key.0[0]).u32("key_1", key.0[1]);
            kernel = kernel.with("stochastic", true);
            if let Some(pattern) = pattern {
                let block = pattern.block();
                x.expect_shape(op, "x", &[pattern.nnz(), block, block])?;
                args = args.tensor("topology", pattern.packed());
                kernel = kernel.block(block).with("placed", true);
            }
            // Only random draws depend on an element's index in the whole tensor.
            if !window.is_whole() {
                args = args.size(op, "first", window.start)?;
                kernel = kernel.with("window", true);
            }
        }
        // Four elements per invocation.
        rec.record(&kernel, &args, elementwise(window.count.div_ceil(4)))?;
    }
    Ok(())
}
