//! Top-k selection by score: `shaders/select/`, twin [`reference::select`](crate::reference::select).

use crate::Result;
use crate::gpu::{Args, DType, Key, Recorder, Tensor};
use crate::terms::{Order, Share};

/// Number of selected entries, k.
#[derive(Debug, Clone, Copy)]
pub enum SelectK<'a> {
    /// Read from this tensor when the plan runs: its first word, or one word per column. At most the number of
    /// entries not excluded.
    Count(&'a Tensor),
    /// Share of the entries not excluded, rounded down.
    Share(Share),
}

/// Records that `chosen`, one bit per score, becomes the set of the k largest (or smallest) `scores`, ties in index
/// order. Negative scores are excluded. The result depends only on the scores.
///
/// Scores may belong to blocks of a grid, of several grids concatenated, or to the elements of stored blocks, for
/// which `chosen` is a [mask](crate::sparse::BlockMask).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes or types do not fit.
pub fn select(
    rec: &mut Recorder<'_>,
    scores: &Tensor,
    k: SelectK<'_>,
    order: Order,
    chosen: &Tensor,
) -> Result<()> {
    let op = "select";
    scores.expect_dtype(op, "scores", DType::F32)?;
    chosen.expect_shape(op, "chosen", &[scores.len().div_ceil(32)])?;
    record(rec, scores, [scores.len(), 1], k, order, chosen)
}

/// Records the selection per column of `scores[n, columns]`: `chosen[columns, n / 32]` holds one set per column, each
/// in whole words.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes or types do not fit.
pub fn select_columns(
    rec: &mut Recorder<'_>,
    scores: &Tensor,
    k: SelectK<'_>,
    order: Order,
    chosen: &Tensor,
) -> Result<()> {
    let op = "select";
    scores.expect_dtype(op, "scores", DType::F32)?;
    let [n, columns] = scores.matrix(op, "scores")?;
    chosen.expect_shape(op, "chosen", &[columns, n.div_ceil(32)])?;
    if let SelectK::Count(wanted) = k {
        wanted.expect_shape(op, "k", &[columns])?;
    }
    record(rec, scores, [n, columns], k, order, chosen)
}

fn record(
    rec: &mut Recorder<'_>,
    scores: &Tensor,
    [n, columns]: [usize; 2],
    k: SelectK<'_>,
    order: Order,
    chosen: &Tensor,
) -> Result<()> {
    let op = "select";
    let words = scores.reinterpret(DType::U32)?;
    let args = Args::new()
        .tensor("scores", &words)
        .tensor("chosen", chosen)
        .size(op, "n", n)?
        .size(op, "columns", columns)?;
    let key = Key::new(op, "radix").with("smallest", order == Order::Smallest);
    match k {
        SelectK::Count(wanted) => rec.record(&key, &args.tensor("k", wanted), columns as u64),
        SelectK::Share(Share(share)) => {
            rec.record(&key.with("fraction", true), &args.f32("fraction", share), columns as u64)
        }
    }
}
