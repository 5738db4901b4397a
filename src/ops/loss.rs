//! Losses: `shaders/loss/`, twins in [`reference::loss`](crate::reference::loss).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};

/// Records softmax cross-entropy of `logits[rows, classes]` against `labels[rows]`.
///
/// `report[rows, 2]` receives each row's loss, and 1 where the largest logit (the first of equals) is the label's.
/// `grad[rows, classes]` receives the gradient times the step's `row_scale`. Rows whose label is no class, such as
/// [`IGNORED`](super::IGNORED), do not count: loss, hit and gradient are 0.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn softmax_cross_entropy(
    rec: &mut Recorder<'_>,
    logits: &Tensor,
    labels: &Tensor,
    report: &Tensor,
    grad: &Tensor,
    step: &Step,
) -> Result<()> {
    let op = "softmax_cross_entropy";
    let [rows, classes] = logits.matrix(op, "logits")?;
    labels.expect_shape(op, "labels", &[rows])?;
    report.expect_shape(op, "report", &[rows, 2])?;
    grad.expect_shape(op, "grad", &[rows, classes])?;
    let matrices = [("logits", logits), ("grad", grad)];
    let columns = [("labels", labels), ("report", report)];
    record(rec, op, "softmax", &matrices, &columns, ("classes", [rows, classes]), step)
}

/// Records softmax cross-entropy of `logits[rows, classes]` with soft targets: a distribution `wanted[rows, classes]` for each row.
///
/// `report[rows, 2]` gets each row's loss, and 1 where the largest logit (the first of equals) is where the largest target is.
/// `grad[rows, classes]` gets the gradient times the step's `row_scale`. A row whose first target is NaN is padding: loss, hit and
/// gradient are 0.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn soft_cross_entropy(
    rec: &mut Recorder<'_>,
    logits: &Tensor,
    wanted: &Tensor,
    report: &Tensor,
    grad: &Tensor,
    step: &Step,
) -> Result<()> {
    let op = "soft_cross_entropy";
    let [rows, classes] = logits.matrix(op, "logits")?;
    wanted.expect_shape(op, "wanted", &[rows, classes])?;
    report.expect_shape(op, "report", &[rows, 2])?;
    grad.expect_shape(op, "grad", &[rows, classes])?;
    let matrices = [("logits", logits), ("wanted", wanted), ("grad", grad)];
    record(rec, op, "soft", &matrices, &[("report", report)], ("classes", [rows, classes]), step)
}

/// Records the mean squared error of each row of `output[rows, columns]` against `wanted`, into `report[rows]`, and its gradient
/// times the step's `row_scale`. A row whose first target is NaN is padding: loss and gradient are 0.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn mse(
    rec: &mut Recorder<'_>,
    output: &Tensor,
    wanted: &Tensor,
    report: &Tensor,
    grad: &Tensor,
    step: &Step,
) -> Result<()> {
    let op = "mse";
    let [rows, columns] = output.matrix(op, "output")?;
    wanted.expect_shape(op, "wanted", &[rows, columns])?;
    report.expect_shape(op, "report", &[rows])?;
    grad.expect_shape(op, "grad", &[rows, columns])?;
    let matrices = [("output", output), ("wanted", wanted), ("grad", grad)];
    record(rec, op, "mse", &matrices, &[("report", report)], ("columns", [rows, columns]), step)
}

/// Records a loss by windows of rows. `matrices` are bound by window; `columns`, with one or two words per row, are
/// bound whole.
fn record(
    rec: &mut Recorder<'_>,
    op: &str,
    name: &'static str,
    matrices: &[(&'static str, &Tensor)],
    columns: &[(&'static str, &Tensor)],
    (across, [rows, width]): (&'static str, [usize; 2]),
    step: &Step,
) -> Result<()> {
    let windows = Windows::new(rec.gpu(), rows);
    for window in matrices.iter().fold(windows, |windows, (_, tensor)| windows.over(tensor)).cut() {
        let views = matrices.iter().map(|(_, tensor)| window.of(tensor)).collect::<Result<Vec<_>>>()?;
        let mut args = Args::new().tensor("now", step.tensor());
        for ((name, _), view) in matrices.iter().zip(&views) {
            args = args.tensor(name, view);
        }
        for (name, tensor) in columns {
            args = args.tensor(name, tensor);
        }
        args = args.size(op, "rows", window.count)?.size(op, across, width)?;
        if name == "mse" {
            args = args.f32("share", 1.0 / width as f32);
        }
        if !window.is_whole() {
            args = args.size(op, "first", window.start)?;
        }
        let key = Key::new("loss", name).with("window", !window.is_whole());
        rec.record(&key, &args, elementwise(window.count))?;
    }
    Ok(())
}
