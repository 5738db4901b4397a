//! Nodes: operations of a graph, each with its forward and its backward pass.

use std::fmt;

use super::pass::{Backward, Forward};
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};

/// An operation of a graph. It records kernels and holds no activations: the graph plans the memory of its inputs, outputs and
/// buffers, which a pass hands over.
pub trait Node: fmt::Debug + Send {
    /// Kind of the operation, as errors and exports name it: `linear`.
    fn kind(&self) -> &'static str;

    /// Options of the operation, for exports.
    fn options(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Records the outputs from the inputs.
    ///
    /// # Errors
    /// As the operations.
    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()>;

    /// Records the gradients of all parameters and of each input whose [gradient](Backward::input_grad) is wanted, from the
    /// gradients of the outputs, and reports each parameter's as [done](Backward::done).
    ///
    /// # Errors
    /// As the operations.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()>;

    /// Allocates what the node keeps on the device besides its buffers: tables, routings. Called once, before the first pass.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    fn bind(&mut self, _gpu: &Gpu) -> Result<()> {
        Ok(())
    }

    /// Bytes that [`Node::bind`] allocates, for the estimate before a run: class, label, number of elements, bytes of one.
    fn bound(&self) -> Result<Vec<(Class, &'static str, u128, u64)>> {
        Ok(Vec::new())
    }

    /// Whether the forward pass may be recorded twice in a step, to [recompute](super::Recompute) its outputs: it changes nothing but
    /// its outputs and buffers.
    fn repeats(&self) -> bool {
        true
    }

    /// Whether the backward pass may be recorded twice, for the gradients of inputs and, later, for those of parameters: each time it
    /// records what is [wanted](Backward::wants_weight_grads) alone.
    fn splits_backward(&self) -> bool {
        false
    }

    /// State that steps change besides parameters and that checkpoints keep, by name.
    fn state(&self) -> Vec<(String, &Tensor)> {
        Vec::new()
    }

    /// Load of a mixture of experts, if the node is one.
    fn load(&self) -> Option<Load<'_>> {
        None
    }

    /// The operation with every activation replaced by the identity and without dropout, for methods that follow the flow through
    /// a network; `None` where the operation isn't linear in its input then.
    fn linearised(&self) -> Option<Box<dyn Node>> {
        None
    }
}

/// Load of a mixture of experts in training, since its totals were last set to 0.
#[derive(Debug, Clone)]
pub struct Load<'a> {
    /// Name of the mixture: `blocks.0.feed`.
    pub name: String,
    /// Tokens that each expert took, `u32[experts]`.
    pub taken: &'a Tensor,
    /// Tokens of each expert that were dropped for lack of capacity, `u32[experts]`.
    pub dropped: &'a Tensor,
    /// Losses of balance at the last step: auxiliary, importance, load and z, and their sum with their coefficients. `None`
    /// where the gate learns nothing.
    pub losses: Option<&'a Tensor>,
    /// Slopes of that sum, which the backward pass adds to the router's gradient: `[4, experts]`. Written by a forward pass of
    /// training; a program that weighs the losses anew scales them before the backward pass.
    pub slopes: Option<&'a Tensor>,
}
