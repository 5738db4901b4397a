//! Selection by score: `shaders/select/`, twin [`reference::select`](crate::reference::select).

use crate::Result;
use crate::gpu::{Args, DType, Key, Recorder, Tensor};
use crate::reference::{Extreme, Share};

/// How many are selected.
#[derive(Debug, Clone, Copy)]
pub enum Quota<'a> {
    /// As many as the first word of this tensor says when the plan runs, or all that take part if they are fewer.
    Count(&'a Tensor),
    /// This share of those that take part, rounded down.
    Share(Share),
}

/// Records that `chosen`, a bit per score, becomes the set of the largest (or smallest) of `scores`; of equals the first
/// are taken. A negative score takes no part. The result depends on the scores alone.
///
/// `scores` may stand for anything: blocks of a grid, of several grids one behind the other, or the elements of stored
/// blocks; in that case `chosen` is a [mask](crate::sparse::BlockMask).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes or types do not fit.
pub fn select(
    rec: &mut Recorder<'_>,
    scores: &Tensor,
    quota: Quota<'_>,
    extreme: Extreme,
    chosen: &Tensor,
) -> Result<()> {
    let op = "select";
    scores.expect_dtype(op, "scores", DType::F32)?;
    chosen.expect_shape(op, "chosen", &[scores.len().div_ceil(32)])?;
    let words = scores.reinterpret(DType::U32)?;
    let args = Args::new().tensor("scores", &words).tensor("chosen", chosen).size(op, "n", scores.len())?;
    let key = Key::new(op, "radix").with("smallest", extreme == Extreme::Smallest);
    match quota {
        Quota::Count(wanted) => rec.dispatch(&key, &args.tensor("wanted", wanted), 1),
        Quota::Share(Share(share)) => {
            rec.dispatch(&key.with("fraction", true), &args.f32("fraction", share), 1)
        }
    }
}
