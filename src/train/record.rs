//! Records of a run's log, one JSON line each.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Confusion, Evaluation, NetworkScores, Scaling, TaskScores};

/// Line of `log.jsonl`; the field `event` names its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogRecord {
    /// The run begins.
    Start(StartRecord),
    /// Kernels were chosen by measurement.
    Kernels(KernelsRecord),
    /// Steps of an epoch were done, before the record of the epoch, or before the run was stopped in it.
    Steps(StepsRecord),
    /// An epoch is over.
    Epoch(EpochRecord),
    /// Unknown event, ignored on reading and never written.
    #[serde(other, skip_serializing)]
    Other,
}

/// Start of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartRecord {
    /// Steps done: 0.
    pub step: u64,
    /// The sparse layers, with their initial patterns.
    #[serde(default)]
    pub layers: Vec<LayerRecord>,
}

/// Kernels that the tuner chose for the process that starts here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelsRecord {
    /// Steps done.
    pub step: u64,
    /// Name of the adapter they were measured on.
    pub adapter: String,
    /// One record for each product.
    pub kernels: Vec<KernelRecord>,
}

/// Kernel chosen for one product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// Family, sizes and density.
    pub shape: String,
    /// Chosen variant.
    pub choice: String,
    /// Time as a multiple of that of the dense product of the same sizes, if both were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versus_dense: Option<f64>,
}

impl KernelRecord {
    /// Whether a dense product would be faster by more than the noise of 3 %.
    pub fn dense_is_faster(&self) -> bool {
        self.versus_dense.is_some_and(|time| time > 1.03)
    }
}

/// Steps of an epoch, by the reports of progress, of which there are about twenty an epoch: an element of each list for a report. A
/// number that is not finite is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepsRecord {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Steps done in the whole run.
    pub steps: Vec<u64>,
    /// Mean loss over the rows since the report before.
    pub loss: Vec<Option<f32>>,
    /// Learning rate of the step.
    pub learning_rate: Vec<Option<f32>>,
    /// Mean time of a step since the report before, in milliseconds.
    pub step_ms: Vec<Option<f32>>,
}

impl StepsRecord {
    /// A record without reports.
    pub(super) fn new(epoch: u64) -> Self {
        let [loss, learning_rate, step_ms] = [const { Vec::new() }; 3];
        Self { epoch, steps: Vec::new(), loss, learning_rate, step_ms }
    }
}

/// Completed epoch. An epoch that was logged before an interruption may be logged again; its last record counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Steps done in the whole run.
    pub step: u64,
    /// Means over the epoch's training rows.
    pub train: Evaluation,
    /// Means over the test rows.
    pub test: Evaluation,
    /// Means over the validation rows, where some are set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Evaluation>,
    /// Mean training loss of each part, in order, where parts are trained by losses of their own; the last is the network's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<f64>,
    /// Scores of each network, where several are trained together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Box<NetworkScores>>,
    /// Accuracy on each task, where a run learns several one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Box<TaskScores>>,
    /// Confusion matrix of the test rows, in the last epoch of a run with few classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Box<Confusion>>,
    /// The sparse layers; none in a dense network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerRecord>,
    /// The mixtures of experts; none in other networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<LoadRecord>,
    /// Loss scaling, in half precision only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Warnings that the run is not learning, as of this epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// Load of a mixture of experts in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// The mixture's name.
    pub name: String,
    /// Tokens processed, by expert.
    pub taken: Vec<u32>,
    /// Tokens dropped past the capacity, by expert.
    pub dropped: Vec<u32>,
}

/// Pattern of a sparse layer at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The layer's name.
    pub name: String,
    /// Rows of the grid of blocks.
    pub row_blocks: usize,
    /// Columns of the grid of blocks.
    pub col_blocks: usize,
    /// The side of a block.
    pub block: usize,
    /// Stored blocks.
    pub nnz: usize,
    /// Updates so far that exchanged at least one block.
    #[serde(default)]
    pub updates: u64,
    /// Grid rows without an active block, whose outputs are the bias alone.
    #[serde(default)]
    pub empty_rows: u32,
    /// Grid columns without an active block, whose inputs are not read.
    #[serde(default)]
    pub empty_cols: u32,
    /// New blocks since the previous record.
    #[serde(default)]
    pub churn: u64,
    /// Share of places that were ever stored: R_s of ITOP (Liu et al. 2021).
    #[serde(default = "nan", deserialize_with = "number_or_nan")]
    pub visited: f64,
    /// Stored blocks: the set of places `row * col_blocks + col`, encoded by [`to_hex`](super::to_hex).
    pub pattern: String,
    /// Inactive blocks: stored, but absent from the forward pass. `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting: Option<String>,
}

pub(super) fn nan() -> f64 {
    f64::NAN
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
pub(super) fn is_nan(number: &f64) -> bool {
    number.is_nan()
}

/// Deserializes a number or null. JSON has no NaN and no infinity; both are written as null and read as NaN.
pub(crate) fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
