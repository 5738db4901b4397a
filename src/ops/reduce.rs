//! Column sums and norms: `shaders/reduce/`, twin [`reference::reduce`](crate::reference::reduce).

use super::windows::Windows;
use super::{elementwise, fill, float_type};
use crate::Result;
use crate::gpu::{Args, Class, DType, Deferred, Key, Recorder, Tensor};
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

/// [`column_sums`] that may be recorded later, with others in one dispatch, but before anything that depends on them. The bits are
/// those of `column_sums`.
///
/// # Errors
/// As [`column_sums`].
pub(crate) fn column_sums_later(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor, add: bool) -> Result<()> {
    let [rows, columns] = x.matrix(OP, "x")?;
    let is_whole = Windows::new(rec.gpu(), rows).over(x).cut_within(SUM_ROWS).len() == 1;
    // The kernel reads whole vectors, and nothing behind a matrix.
    let reads_vectors = x.len() > 0 && x.len().is_multiple_of(4);
    if rows > SUM_ROWS || !reads_vectors || !is_whole {
        return column_sums(rec, x, out, add);
    }
    out.expect_shape(OP, "out", &[columns])?;
    rec.defer(Deferred { x: x.clone(), out: out.clone(), add }, record_deferred)
}

/// Names of the operands of `shaders/reduce/sums.wgsl`, by matrix.
const MATRICES: [[&str; 2]; 4] = [["x_0", "out_0"], ["x_1", "out_1"], ["x_2", "out_2"], ["x_3", "out_3"]];

/// Names of its parameters, by matrix.
const PARAMETERS: [[&str; 4]; 4] = [
    ["rows_0", "columns_0", "end_0", "add_0"],
    ["rows_1", "columns_1", "end_1", "add_1"],
    ["rows_2", "columns_2", "end_2", "add_2"],
    ["rows_3", "columns_3", "end_3", "add_3"],
];

/// Records sums of whole matrices of few rows, as many in a dispatch as it has room for. A dispatch of f16 matrices has room for one of
/// f32, the first: the losses of a step, beside the gradients of its biases.
fn record_deferred(rec: &mut Recorder<'_>, sums: &[Deferred]) -> Result<()> {
    let (mut halves, mut singles): (Vec<_>, Vec<_>) =
        sums.iter().partition(|sum| float_type(&sum.x) == DType::F16);
    let mixed = !halves.is_empty() && singles.len() == 1;
    if mixed {
        halves.insert(0, singles.remove(0));
    }
    for (at, sums) in halves.chunks(MATRICES.len()).enumerate() {
        let key = Key::new("reduce", "sums").dtype(DType::F16);
        record_together(rec, key.with("mixed", mixed && at == 0), sums)?;
    }
    singles.chunks(MATRICES.len()).try_for_each(|sums| record_together(rec, Key::new("reduce", "sums"), sums))
}

/// Records sums in one dispatch.
fn record_together(rec: &mut Recorder<'_>, key: Key, sums: &[&Deferred]) -> Result<()> {
    if let [Deferred { x, out, add }] = sums {
        return column_sums(rec, x, out, *add);
    }
    let mut args = Args::new();
    let mut end = 0;
    for (sum, ([x, out], [rows_of, columns_of, end_of, add_of])) in
        sums.iter().zip(MATRICES.into_iter().zip(PARAMETERS))
    {
        let [rows, columns] = sum.x.matrix(OP, "x")?;
        end += elementwise(if columns.is_multiple_of(4) { columns / 4 } else { columns });
        args = args
            .tensor(x, &sum.x)
            .tensor(out, &sum.out)
            .size(OP, rows_of, rows)?
            .size(OP, columns_of, columns)?
            .size(OP, end_of, end as usize)?
            .u32(add_of, sum.add.into());
    }
    rec.record(&key.with("third", sums.len() > 2).with("fourth", sums.len() > 3), &args, end)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Gpu, Mark, Options};
    use crate::ops::{blend, fill};

    const ROWS: usize = 7;
    /// Elements between results that can be bound.
    const APART: usize = 128;

    fn read(gpu: &Gpu, tensor: &Tensor) -> Vec<f32> {
        gpu.read::<f32>(tensor).unwrap().wait().unwrap()
    }

    fn matrix(gpu: &Gpu, value: f32) -> Tensor {
        gpu.upload(Class::Scratch, "x", &[ROWS, 4], &[value; ROWS * 4]).unwrap()
    }

    /// Sums that are recorded later read what was there when they were asked for, and are there for whatever reads them.
    #[test]
    fn deferred_sums_are_recorded_in_time() {
        let gpu = Gpu::request(Options::default()).unwrap();
        let outs = gpu.zeros::<f32>(Class::Scratch, "out", &[4 * APART]).unwrap();
        let out = |at| outs.rows(at * APART, 4).unwrap();
        let [a, b, c, copy] = [1.0, 2.0, 3.0, 0.0].map(|value| matrix(&gpu, value));
        let mut rec = Recorder::new(&gpu);
        column_sums_later(&mut rec, &a, &out(0), false).unwrap();
        column_sums_later(&mut rec, &b, &out(1), false).unwrap();
        // A dispatch that has nothing to do with them, and one that only reads a matrix.
        fill(&mut rec, &copy, 0).unwrap();
        blend(&mut rec, &a, &copy, [1.0, 0.0]).unwrap();
        assert_eq!(rec.len(), 2);
        // The first matrix is overwritten: both sums are recorded before, in one dispatch.
        fill(&mut rec, &a, 0).unwrap();
        assert_eq!(rec.len(), 4);
        // A running total that is added to twice, and a reader of it.
        column_sums_later(&mut rec, &b, &out(2), true).unwrap();
        column_sums_later(&mut rec, &c, &out(2), true).unwrap();
        assert_eq!(rec.len(), 5);
        let total = gpu.zeros::<f32>(Class::Scratch, "total", &[4]).unwrap();
        blend(&mut rec, &out(2), &total, [1.0, 0.0]).unwrap();
        assert_eq!(rec.len(), 7);
        // The last is recorded at the end.
        column_sums_later(&mut rec, &c, &out(3), false).unwrap();
        assert_eq!(rec.len(), 7);
        let plan = rec.finish().unwrap();
        assert_eq!(plan.len(), 8);
        gpu.run(&plan).unwrap();
        for (at, wanted) in [1.0, 2.0, 5.0, 3.0].into_iter().enumerate() {
            assert_eq!(read(&gpu, &out(at)), [ROWS as f32 * wanted; 4], "{at}");
        }
        assert_eq!(read(&gpu, &total), [ROWS as f32 * 5.0; 4]);
        assert_eq!(read(&gpu, &copy), [1.0; ROWS * 4]);
    }

    /// A mark of a sum stands behind it, and one of no tensor behind all sums.
    #[test]
    fn marks_wait_for_deferred_sums() {
        let gpu = Gpu::request(Options::default()).unwrap();
        let outs = gpu.zeros::<f32>(Class::Scratch, "out", &[2 * APART]).unwrap();
        let out = |at| outs.rows(at * APART, 4).unwrap();
        let x = matrix(&gpu, 1.0);
        let mark = |name: &str, tensor| Mark { kind: "test", name: name.to_owned(), tensor };
        let mut rec = Recorder::new(&gpu);
        column_sums_later(&mut rec, &x, &out(0), false).unwrap();
        rec.mark(mark("sum", Some(out(0)))).unwrap();
        rec.mark(mark("other", Some(x.clone()))).unwrap();
        column_sums_later(&mut rec, &x, &out(1), false).unwrap();
        assert_eq!(rec.len(), 0);
        rec.mark(mark("all", None)).unwrap();
        assert_eq!(rec.len(), 1);
        fill(&mut rec, &x, 0).unwrap();
        let plan = rec.finish().unwrap();
        let names: Vec<_> = plan.marks().map(|mark| mark.name.clone()).collect();
        assert_eq!(names, ["other", "sum", "all"]);
        let (first, parts) = plan.cut(&|_| true);
        let lengths: Vec<_> = parts.iter().map(|(_, plan)| plan.len()).collect();
        assert_eq!((first.len(), lengths), (0, vec![1, 0, 1]));
    }
}
