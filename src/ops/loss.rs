//! Losses: `shaders/loss/`, twins in [`reference::loss`](crate::reference::loss).

use super::{Step, elementwise};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};

/// Records softmax cross-entropy of `logits[rows, classes]` against `labels[rows]`.
///
/// `report[rows, 2]` gets each row's loss, and 1 where the largest logit is the label's (the first of equals).
/// `grad[rows, classes]` gets the gradient times the step's `row_scale`. A label that is no class, such as
/// [`IGNORED`](crate::reference::IGNORED), marks a row that does not count: loss, hit and gradient are 0.
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
    let args = Args::new()
        .tensor("logits", logits)
        .tensor("labels", labels)
        .tensor("report", report)
        .tensor("grad", grad)
        .tensor("now", step.tensor())
        .size(op, "rows", rows)?
        .size(op, "classes", classes)?;
    rec.dispatch(&Key::new("loss", "softmax"), &args, elementwise(rows))
}

/// Records half the squared error of `output[rows, columns]` against `wanted`, row by row into `report[rows]`, and
/// its gradient times the step's `row_scale`.
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
    let args = Args::new()
        .tensor("output", output)
        .tensor("wanted", wanted)
        .tensor("report", report)
        .tensor("grad", grad)
        .tensor("now", step.tensor())
        .size(op, "rows", rows)?
        .size(op, "columns", columns)?;
    rec.dispatch(&Key::new("loss", "mse"), &args, elementwise(rows))
}
