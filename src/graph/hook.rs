//! Hooks of the backward pass: work recorded where a parameter's gradient is complete.

use super::ParamId;
use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::sparse::BlockMatrix;

/// Factors of the gradient of a layer's weight in the step at hand.
#[derive(Debug, Clone, Copy)]
pub enum Signals<'a> {
    /// A layer that every row passes: `dW = dy^T * x`.
    Rows {
        /// Input, `[rows, in]`.
        x: &'a Tensor,
        /// Output after the activation, `[rows, out]`; where the output is added to a residual stream, the sum.
        y: &'a Tensor,
        /// Gradient of the output before the activation, `[rows, out]`.
        dy: &'a Tensor,
    },
    /// A layer of all experts, a row of its weight per hidden unit: `dW = hidden^T * x[tokens]`.
    Routed {
        /// Gradient of the hidden units (for the lower layer: the hidden units), each times the weight of its row, on the blocks
        /// of the routing, `[rows, hidden units]`.
        hidden: &'a BlockMatrix,
        /// Inputs of the mixture (for the lower layer: the gradient of its output), `[tokens, width]`.
        x: &'a Tensor,
        /// Token of each row; rows that pad have one past the last.
        tokens: &'a Tensor,
    },
}

/// A parameter whose gradient is complete in the middle of a backward pass. Nothing later in the pass reads its weight.
#[derive(Debug, Clone, Copy)]
pub struct GradientReady<'a> {
    /// The parameter.
    pub param: ParamId,
    /// Factors of the gradient, of a matrix.
    pub signals: Option<Signals<'a>>,
}

/// Records something where a parameter's gradient is complete.
pub type BackwardHook<'a> = dyn FnMut(&mut Recorder<'_>, GradientReady<'_>) -> Result<()> + 'a;
