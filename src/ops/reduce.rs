//! Column sums and norms: `shaders/reduce/`, twin [`reference::reduce`](crate::reference::reduce).

use super::windows::Windows;
use super::{elementwise, fill, float_type};
use crate::Result;
use crate::gpu::{Args, Class, Key, Recorder, Tensor};
use crate::terms::SUM_ROWS;

const OP: &str = "column_sums";

/// Records `out[columns] = sum over rows of x[rows, columns]`, or adds that sum to `out` where `add`.
///
/// `x` may be f16; sums are f32.
///
/// Rows are summed in chunks of [`SUM_ROWS`], and the partial sums likewise, until one row is left: the summation order
/// depends only on the shape. Partial sums are allocated as scratch and must fit one binding.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn column_sums(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor, add: bool) -> Result<()> {
    let op = OP;
    let [mut rows, columns] = x.matrix(op, "x")?;
    out.expect_shape(op, "out", &[columns])?;
    if rows == 0 {
        x.expect_beside(op, "x", out)?;
        return if add { Ok(()) } else { fill(rec, out, 0) };
    }
    let mut from = x.clone();
    while rows > SUM_ROWS {
        let chunks = rows.div_ceil(SUM_ROWS);
        let partial = rec.gpu().alloc::<f32>(Class::Scratch, "partial sums", &[chunks, columns])?;
        record(rec, &from, &partial, [rows, columns], false)?;
        (from, rows) = (partial, chunks);
    }
    record(rec, &from, out, [rows, columns], add)
}

/// Records `out[columns] = 1 / norm` of each column of `x[rows, columns]`, 0 for a zero column. `x` may be f16.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn inverse_norms(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor) -> Result<()> {
    let op = "reduce.norms";
    let [rows, columns] = x.matrix(op, "x")?;
    out.expect_shape(op, "out", &[columns])?;
    if rows == 0 {
        x.expect_beside(op, "x", out)?;
        return fill(rec, out, 0);
    }
    let args =
        Args::new().tensor("x", x).tensor("out", out).size(op, "rows", rows)?.size(op, "columns", columns)?;
    rec.record(&Key::new("reduce", "norms").dtype(float_type(x)), &args, elementwise(columns))
}

/// Records one pass: `out[chunks, columns]` from `x`. Only a pass with a single chunk may add.
///
/// If `x` exceeds one binding, each window of a chunk continues from the partial sum of the previous one. A running
/// total in `out` is no such partial sum, so windows accumulate in scratch first.
fn record(
    rec: &mut Recorder<'_>,
    x: &Tensor,
    out: &Tensor,
    [rows, columns]: [usize; 2],
    add: bool,
) -> Result<()> {
    let windows = Windows::new(rec.gpu(), rows).over(x).cut_within(SUM_ROWS);
    if windows.len() == 1 {
        return dispatch(rec, x, out, [rows, columns], add, None);
    }
    if add {
        let sums = rec.gpu().alloc::<f32>(Class::Scratch, "partial sums", &[1, columns])?;
        record(rec, x, &sums, [rows, columns], false)?;
        return dispatch(rec, &sums, out, [1, columns], true, None);
    }
    for window in windows {
        let onward = (window.start / SUM_ROWS * columns, !window.start.is_multiple_of(SUM_ROWS));
        dispatch(rec, &window.of(x)?, out, [window.count, columns], false, Some(onward))?;
    }
    Ok(())
}

/// Window of a windowed pass: offset of its first partial sum in `out`, and whether it continues from there.
type Onward = (usize, bool);

fn dispatch(
    rec: &mut Recorder<'_>,
    x: &Tensor,
    out: &Tensor,
    [rows, columns]: [usize; 2],
    add: bool,
    onward: Option<Onward>,
) -> Result<()> {
    // vec4 where four divides the columns.
    let across = if columns.is_multiple_of(4) { 4 } else { 1 };
    let mut args = Args::new().tensor("x", x).tensor("out", out).size(OP, "rows", rows)?.size(
        OP,
        "columns",
        columns / across,
    )?;
    let mut key = Key::new("reduce", "sum").dtype(float_type(x)).with("add", add).with("quads", across == 4);
    if let Some((first, continued)) = onward {
        args = args.size(OP, "first", first / across)?;
        key = key.with("window", true).with("continued", continued);
    }
    rec.record(&key, &args, elementwise(rows.div_ceil(SUM_ROWS) * columns / across))
}
