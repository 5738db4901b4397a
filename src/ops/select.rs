//! Selection by score: `shaders/select/`, twin [`reference::select`](crate::reference::select).

use crate::Result;
use crate::gpu::{Args, DType, Key, Recorder, Tensor};
use crate::reference::{Extreme, Share};

/// How many are selected.
#[derive(Debug, Clone, Copy)]
pub enum Quota<'a> {
    /// As many as the first word of this tensor says when the plan runs (of several columns, a word for each), or all that take
    /// part if they are fewer.
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
    record(rec, scores, [scores.len(), 1], quota, extreme, chosen)
}

/// Records the same for every column of `scores[n, columns]` by itself: `chosen[columns, n / 32]` holds their sets one behind
/// the other, each in whole words.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes or types do not fit.
pub fn select_columns(
    rec: &mut Recorder<'_>,
    scores: &Tensor,
    quota: Quota<'_>,
    extreme: Extreme,
    chosen: &Tensor,
) -> Result<()> {
    let op = "select";
    scores.expect_dtype(op, "scores", DType::F32)?;
    let [n, columns] = scores.matrix(op, "scores")?;
    chosen.expect_shape(op, "chosen", &[columns, n.div_ceil(32)])?;
    if let Quota::Count(wanted) = quota {
        wanted.expect_shape(op, "quota", &[columns])?;
    }
    record(rec, scores, [n, columns], quota, extreme, chosen)
}

fn record(
    rec: &mut Recorder<'_>,
    scores: &Tensor,
    [n, columns]: [usize; 2],
    quota: Quota<'_>,
    extreme: Extreme,
    chosen: &Tensor,
) -> Result<()> {
    let op = "select";
    let words = scores.reinterpret(DType::U32)?;
    let args = Args::new()
        .tensor("scores", &words)
        .tensor("chosen", chosen)
        .size(op, "n", n)?
        .size(op, "columns", columns)?;
    let key = Key::new(op, "radix").with("smallest", extreme == Extreme::Smallest);
    match quota {
        Quota::Count(wanted) => rec.record(&key, &args.tensor("wanted", wanted), columns as u64),
        Quota::Share(Share(share)) => {
            rec.record(&key.with("fraction", true), &args.f32("fraction", share), columns as u64)
        }
    }
}
