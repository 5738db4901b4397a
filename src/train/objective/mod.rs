//! Objectives, a file each: the loss that a network is trained on, and its gradient by the outputs.

mod cross_entropy;
mod mean_squared_error;
mod networks;
mod soft_cross_entropy;

use std::fmt;

pub use cross_entropy::CrossEntropy;
pub use mean_squared_error::MeanSquaredError;
pub use networks::NetworksCrossEntropy;
pub use soft_cross_entropy::SoftCrossEntropy;

use crate::Result;
use crate::data::Targets;
use crate::gpu::{Recorder, Tensor};
use crate::ops::Step;

/// The loss of a network's outputs.
pub trait Objective: fmt::Debug + Send {
    /// Name in settings and messages: `cross-entropy`.
    fn name(&self) -> &'static str;

    /// Targets of one row of outputs of these shapes, each `[rows, columns]`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for outputs that the objective has no loss of.
    fn targets(&self, outputs: &[Vec<usize>]) -> Result<Targets>;

    /// Whether the objective counts hits: rows whose largest output is the right one.
    fn counts_hits(&self) -> bool {
        false
    }

    /// Whether the loss of a row is the squared error of its outputs, so that its root is in the units of the targets.
    fn is_squared_error(&self) -> bool {
        false
    }

    /// Number of networks whose losses are reported one by one; `None` for one loss of all outputs.
    fn networks(&self) -> Option<usize> {
        None
    }

    /// Whether each training row counts for one of the networks alone.
    fn shares_out_rows(&self) -> bool {
        false
    }

    /// Records the loss of each row, and the gradients of all outputs, averaged over the rows of the batch.
    ///
    /// # Errors
    /// As the operations.
    fn record(&self, rec: &mut Recorder<'_>, pass: &LossPass<'_>) -> Result<()>;
}

/// Tensors of a loss.
#[derive(Debug, Clone, Copy)]
pub struct LossPass<'a> {
    /// Outputs of the network, `[rows, columns]`.
    pub outputs: &'a [&'a Tensor],
    /// Gradients of the outputs, to be written: those of the sum of the rows' losses times the step's `row_scale`, which is 1 /
    /// the number of rows that count.
    pub output_grads: &'a [&'a Tensor],
    /// Targets: `u32[rows]` of classes, or `f32[rows, columns]`. Rows that pad a batch have the class
    /// [`IGNORED`](crate::ops::IGNORED), or NaN; their losses and gradients are 0.
    pub targets: &'a Tensor,
    /// Loss of each row, to be written; and, where the objective [counts hits](Objective::counts_hits), 1 for a hit and 0 otherwise:
    /// `[rows, 1]` or `[rows, 2]`; of several [networks](Objective::networks) the rows times networks, those of a row together.
    pub report: &'a Tensor,
    /// The step, with its `row_scale`.
    pub step: &'a Step,
    /// Whether the rows are for training, and not for a test.
    pub training: bool,
    /// Probabilities that networks are taught besides the targets, in the layout of the one output; none outside of codistillation.
    pub taught: Option<&'a Tensor>,
}

/// The one output of a network, `[rows, columns]`.
fn single(name: &'static str, outputs: &[Vec<usize>]) -> Result<[usize; 2]> {
    match outputs {
        [output] if output.len() == 2 => Ok([output[0], output[1]]),
        _ => Err(crate::Error::argument(name, "outputs", "one of [rows, columns]", format!("{outputs:?}"))),
    }
}
