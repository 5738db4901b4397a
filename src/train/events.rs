//! Events of a run for its watcher, and its summary.

use super::record::{is_nan, nan, number_or_nan};
use super::{EmptyLines, LoadRecord, NetworkScores, TaskScores, Validated};
use crate::gpu::Bytes;

/// Event of a run, for its watcher.
#[derive(Debug, Clone)]
pub enum Event {
    /// A kernel is about to be measured.
    Tuning {
        /// Kernels that are done.
        done: usize,
        /// Kernels that there are to measure.
        of: usize,
        /// The one that is next.
        shape: String,
    },
    /// A kernel is about to be compiled.
    Compiling {
        /// Kernels that are compiled.
        done: usize,
        /// Kernels that there are to compile.
        of: usize,
        /// The next one.
        kernel: String,
    },
    /// Something that is no error, but should be known.
    Notice(String),
    /// Steps were done.
    Progress {
        /// The epoch, from 0.
        epoch: u64,
        /// Steps of this epoch that are submitted.
        step: u64,
        /// Steps of this epoch.
        steps: u64,
        /// Mean loss over the epoch's rows, as far as it has come back from the device.
        loss: Option<f64>,
        /// Training accuracy over the same rows.
        accuracy: Option<f64>,
    },
    /// An epoch is over and the network was tested.
    Epoch {
        /// The epoch, from 0.
        epoch: u64,
        /// Steps done in the whole run.
        step: u64,
        /// Over the epoch's rows.
        train: Evaluation,
        /// Over the test rows.
        test: Evaluation,
        /// Over the validation rows, where some are set aside.
        validation: Option<Evaluation>,
        /// Steps a second in this epoch, without compilation, tuning, the test and the method's operations between steps.
        steps_per_second: f64,
        /// Tokens taken and dropped by each mixture of experts in this epoch.
        loads: Vec<LoadRecord>,
        /// How gradients are scaled, where they are.
        scaling: Option<Scaling>,
    },
}

/// Answer of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop after this step, keeping what has been done.
    Stop,
}

/// Loss and accuracy over some rows, or the errors of a regression.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy in nats, of a row or of a byte; of a regression the mean squared error of the standardised targets.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// The share of rows whose largest logit is their label's; NaN where rows have no class.
    #[serde(default = "nan", deserialize_with = "number_or_nan", skip_serializing_if = "is_nan")]
    pub accuracy: f64,
    /// Root of the mean squared error of a regression, in the units of the targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// Coefficient of determination R² of a regression: 1 - mean squared error / variance of the targets of these rows; `None`
    /// where they are all equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

impl Evaluation {
    /// Nothing evaluated: a loss and an accuracy of NaN.
    pub const NONE: Self = Self { loss: f64::NAN, accuracy: f64::NAN, rmse: None, r2: None };
}

/// Confusion matrix: numbers of test rows by class and by prediction.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Confusion {
    /// Name of each class.
    pub names: Vec<String>,
    /// For each class its rows, by the class that was predicted.
    pub counts: Vec<Vec<u64>>,
}

/// How the gradients of a run in half precision are scaled.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scaling {
    /// Factor of the gradients.
    pub loss_scale: f32,
    /// Steps of the whole run that changed nothing, because a gradient was too large for f16.
    pub skipped: u32,
}

/// How a run went.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Summary {
    /// Whether it came to its end, or ran out of patience, rather than being stopped.
    pub finished: bool,
    /// Accuracy on the test rows; NaN where rows have no class.
    #[serde(skip_serializing_if = "is_nan")]
    pub test_accuracy: f64,
    /// Mean loss over the test rows: in nats, or the mean squared error of standardised targets.
    pub test_loss: f64,
    /// Validation, where rows are set aside for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validated>,
    /// Root of the mean squared error of a regression on the test rows, in the units of the targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_rmse: Option<f64>,
    /// Coefficient of determination of a regression on the test rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_r2: Option<f64>,
    /// Mean loss over the rows of the last epoch that was trained; NaN where this process did no step.
    pub train_loss: f64,
    /// Steps done in the whole run.
    pub steps: u64,
    /// Seconds of training by this process, tests included.
    pub seconds: f64,
    /// Milliseconds of a step, without compilation, tuning, tests and the method's operations between steps; NaN where this
    /// process did no step.
    pub step_ms: f64,
    /// Milliseconds, all together, in which the method had the network to itself, before the first step, between steps or at the
    /// end of an epoch, and in which steps were recorded anew for it. An update that is part of a step is not among them, and of
    /// one between two steps it is what the host did.
    pub operating_ms: f64,
    /// Stored parameters.
    pub params_present: usize,
    /// Parameters with every block present.
    pub params_dense: usize,
    /// Bytes on the device, by class.
    pub bytes: Bytes,
    /// The most bytes there were at one time.
    pub peak_bytes: u64,
    /// Times the host waited for the device between two tests.
    pub blocking_waits: u64,
    /// How gradients were scaled, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Scores of each network in the last test, where several are trained together; the accuracies and losses above are then means over
    /// the networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<NetworkScores>,
    /// Accuracy on each task after the last epoch, where the run learns several one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskScores>,
    /// Sparse layers with rows or columns of blocks in which no block is active.
    pub empty_lines: Vec<EmptyLines>,
    /// Signs that the run is useless.
    pub notices: Vec<String>,
}
