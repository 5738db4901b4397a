//! The lines of a run's log, as they are written and read.

use serde::{Deserialize, Deserializer, Serialize};

use crate::train::{Evaluation, Scaling};

/// A line of `log.jsonl`. Its kind stands under `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogRecord {
    /// The run begins.
    Start(StartRecord),
    /// Kernels were chosen by measurement.
    Kernels(KernelsRecord),
    /// An epoch is over.
    Epoch(EpochRecord),
    /// A line that this version does not know; it is passed over, and never written.
    #[serde(other, skip_serializing)]
    Other,
}

/// The run as it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartRecord {
    /// Steps done: 0.
    pub step: u64,
    /// The sparse layers, with their initial patterns.
    #[serde(default)]
    pub layers: Vec<LayerRecord>,
}

/// The kernels that were chosen by measurement, for the process that begins here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelsRecord {
    /// Steps done.
    pub step: u64,
    /// Where it was measured.
    pub adapter: String,
    /// The kernels.
    pub kernels: Vec<KernelRecord>,
}

/// What was found out about one product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// Family, sizes and density.
    pub shape: String,
    /// What runs.
    pub choice: String,
    /// How long it takes, where the dense product of the same sizes takes 1, if that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versus_dense: Option<f64>,
}

impl KernelRecord {
    /// Whether a dense product would be faster, and not just by chance.
    pub fn dense_is_faster(&self) -> bool {
        self.versus_dense.is_some_and(|time| time > 1.03)
    }
}

/// An epoch that is over. One logged before an interruption may be logged again; the last counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Steps done in the whole run.
    pub step: u64,
    /// Over the epoch's rows.
    pub train: Evaluation,
    /// Over the test rows.
    pub test: Evaluation,
    /// The sparse layers; none in a dense network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerRecord>,
    /// The mixtures of experts; none in other networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<LoadRecord>,
    /// How gradients are scaled, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Signs that the run is useless, as of this epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// What passed through a mixture of experts in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// The mixture's name.
    pub name: String,
    /// Tokens that each expert got.
    pub taken: Vec<u32>,
    /// Tokens that chose it, and that it had no room for.
    pub dropped: Vec<u32>,
}

/// A sparse layer's pattern at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The layer's name.
    pub name: String,
    /// Rows of the grid of blocks.
    pub row_blocks: usize,
    /// Its columns.
    pub col_blocks: usize,
    /// The side of a block.
    pub block: usize,
    /// Stored blocks.
    pub nnz: usize,
    /// Updates so far that exchanged at least one block.
    #[serde(default)]
    pub updates: u64,
    /// Rows of blocks without an active block: outputs that are their bias alone.
    #[serde(default)]
    pub empty_rows: u32,
    /// Columns of blocks without an active block: inputs that are not read.
    #[serde(default)]
    pub empty_cols: u32,
    /// Blocks that came in since the line before.
    #[serde(default)]
    pub churn: u64,
    /// The share of places that were ever stored: ITOP's R_s (Liu et al. 2021).
    #[serde(default = "nan", deserialize_with = "number_or_nan")]
    pub visited: f64,
    /// The stored blocks: the places `row * col_blocks + col`, as [`to_hex`](super::to_hex) writes them.
    pub pattern: String,
    /// Stored blocks without a part in the forward pass, if there may be such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting: Option<String>,
}

fn nan() -> f64 {
    f64::NAN
}

/// JSON has no NaN and no infinity: both are written as null.
pub(crate) fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
