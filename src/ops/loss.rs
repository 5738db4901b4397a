//! Losses: `shaders/loss/`, twins in [`reference::loss`](crate::reference::loss).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::terms::SideBySide;
use crate::{Error, Result};

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

/// Soft targets of networks side by side: each learns from the mean of the others' probabilities.
#[derive(Debug, Clone, Copy)]
pub struct Distilled<'a> {
    /// Probabilities of all networks, in the layout of the logits; see [`network_probabilities`].
    pub probabilities: &'a Tensor,
    /// Factor of the cross-entropy to them.
    pub weight: f32,
}

/// Loss of networks side by side.
#[derive(Debug, Clone, Copy)]
pub struct NetworkLoss<'a> {
    /// The networks of a tensor of logits.
    pub of: SideBySide,
    /// Soft targets besides the labels.
    pub distilled: Option<Distilled<'a>>,
}

/// Records softmax cross-entropy of networks side by side in `logits[rows, networks * columns]` against `labels[rows]`.
///
/// `report[rows, all, 2]`, as a matrix `[rows * all, 2]`, receives the loss and the hit of each of these networks for each row, as
/// [`softmax_cross_entropy`] defines them; other networks' are left alone. `grad`, of the shape of the logits, receives the gradient
/// times the step's `row_scale`, and where rows are shared out times the number of networks; 0 in padding. With `distilled` targets the
/// gradient of `weight` times the cross-entropy to the mean of the other networks' probabilities is added; the reported loss is that of
/// the labels alone. Rows whose label is no class, or that count for another network, have the loss, hit and gradient 0.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit, and for distilled targets of a single network.
pub fn networks_cross_entropy(
    rec: &mut Recorder<'_>,
    logits: &Tensor,
    labels: &Tensor,
    report: &Tensor,
    grad: &Tensor,
    step: &Step,
    NetworkLoss { of, distilled }: NetworkLoss<'_>,
) -> Result<()> {
    let op = "networks_cross_entropy";
    let SideBySide { networks, begin, all, classes, columns, .. } = of;
    let rows = expect_networks(op, logits, of)?;
    labels.expect_shape(op, "labels", &[rows])?;
    report.expect_shape(op, "report", &[rows.saturating_mul(all), 2])?;
    grad.expect_shape(op, "grad", logits.shape())?;
    if let Some(Distilled { probabilities, .. }) = distilled {
        probabilities.expect_shape(op, "probabilities", logits.shape())?;
        if networks < 2 {
            return Err(Error::argument(op, "networks", "two or more, to learn from each other", networks));
        }
    }
    let mut matrices = vec![("logits", logits), ("grad", grad)];
    matrices.extend(distilled.map(|of| ("teachers", of.probabilities)));
    let windows = Windows::new(rec.gpu(), rows);
    for window in matrices.iter().fold(windows, |windows, (_, tensor)| windows.over(tensor)).cut() {
        let views = matrices.iter().map(|(_, tensor)| window.of(tensor)).collect::<Result<Vec<_>>>()?;
        let mut args =
            Args::new().tensor("now", step.tensor()).tensor("labels", labels).tensor("report", report);
        for ((name, _), view) in matrices.iter().zip(&views) {
            args = args.tensor(name, view);
        }
        args = args
            .size(op, "rows", window.count)?
            .size(op, "networks", networks)?
            .size(op, "begin", begin)?
            .size(op, "all", all)?
            .size(op, "classes", classes)?
            .size(op, "columns", columns)?
            .u32("shared_out", of.shared_out.into())
            .f32("scale", of.scale());
        if let Some(Distilled { weight, .. }) = distilled {
            args = args.f32("weight", weight);
        }
        if !window.is_whole() {
            args = args.size(op, "first", window.start)?;
        }
        let key = Key::new("loss", "networks")
            .with("window", !window.is_whole())
            .with("distilled", distilled.is_some());
        rec.record(&key, &args, elementwise(window.count * networks))?;
    }
    Ok(())
}

/// Records the softmax of the logits of networks side by side, in their place; padding is left alone. The logits must fit one binding.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn network_probabilities(rec: &mut Recorder<'_>, logits: &Tensor, of: SideBySide) -> Result<()> {
    let op = "network_probabilities";
    let rows = expect_networks(op, logits, of)? * of.networks;
    let args = Args::new()
        .tensor("logits", logits)
        .size(op, "rows", rows)?
        .size(op, "classes", of.classes)?
        .size(op, "columns", of.columns)?;
    rec.record(&Key::new("loss", "probabilities"), &args, elementwise(rows))
}

/// Rows of logits that are of these networks.
fn expect_networks(op: &str, logits: &Tensor, of: SideBySide) -> Result<usize> {
    let SideBySide { networks, begin, all, classes, columns, .. } = of;
    let [rows, width] = logits.matrix(op, "logits")?;
    if classes == 0 || classes > columns || networks == 0 || begin.saturating_add(networks) > all {
        let wanted = "classes within the columns, and networks within all";
        return Err(Error::argument(op, "networks", wanted, format!("{of:?}")));
    }
    if networks.checked_mul(columns) != Some(width) {
        let wanted = format!("{networks} times {columns} columns");
        return Err(Error::argument(op, "logits", wanted, format!("{width} columns")));
    }
    // Invocations are numbered in 32 bits, and so are elements of the report.
    let most = u32::MAX as usize;
    if rows.checked_mul(all).and_then(|count| count.checked_mul(2)).is_none_or(|count| count > most) {
        let found = format!("{rows} rows of {all} networks");
        return Err(Error::argument(op, "rows", "below 2^31 rows times networks", found));
    }
    Ok(rows)
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
