//! Sums and norms of columns: `shaders/reduce/`, twin [`reference::reduce`](crate::reference::reduce).

use super::elementwise;
use crate::Result;
use crate::gpu::{Args, Class, Key, Recorder, Tensor};
use crate::reference::CHUNK;

/// Records `out[columns] = sum over rows of x[rows, columns]`, or `out +=` that sum where `add`.
///
/// Rows are summed in chunks of [`CHUNK`], the chunks' sums likewise, until one row is left: the order depends on the
/// shape alone. Partial sums, where there are any, are allocated as scratch.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn column_sums(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor, add: bool) -> Result<()> {
    let op = "column_sums";
    let [mut rows, columns] = x.matrix(op, "x")?;
    out.expect_shape(op, "out", &[columns])?;
    let mut from = x.clone();
    while rows > CHUNK {
        let chunks = rows.div_ceil(CHUNK);
        let partial = rec.gpu().alloc::<f32>(Class::Scratch, "partial sums", &[chunks, columns])?;
        record(rec, &from, &partial, [rows, columns], false)?;
        (from, rows) = (partial, chunks);
    }
    record(rec, &from, out, [rows, columns], add)
}

/// Records `out[columns] = 1 / norm` of each column of `x[rows, columns]`, 0 for a column of zeros.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn inverse_norms(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor) -> Result<()> {
    let op = "reduce.norms";
    let [rows, columns] = x.matrix(op, "x")?;
    out.expect_shape(op, "out", &[columns])?;
    let args =
        Args::new().tensor("x", x).tensor("out", out).size(op, "rows", rows)?.size(op, "columns", columns)?;
    rec.dispatch(&Key::new("reduce", "norms"), &args, elementwise(columns))
}

fn record(
    rec: &mut Recorder<'_>,
    x: &Tensor,
    out: &Tensor,
    [rows, columns]: [usize; 2],
    add: bool,
) -> Result<()> {
    let args = Args::new().tensor("x", x).tensor("out", out).size("column_sums", "rows", rows)?.size(
        "column_sums",
        "columns",
        columns,
    )?;
    let sums = rows.div_ceil(CHUNK) * columns;
    rec.dispatch(&Key::new("reduce", "sum").with("add", add), &args, elementwise(sums))
}
