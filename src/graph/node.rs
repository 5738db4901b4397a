//! Nodes: operations of a graph, each with its forward and its backward pass.

use std::fmt;

use super::network::Network;
use super::pass::{Backward, Forward};
use super::{ParamId, Units, Value};
use crate::Result;
use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::ops::{Activation, Dropout};

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
}

/// An input of a node: a value, and how the node reads it.
#[derive(Debug, Clone)]
pub struct Input {
    pub(super) value: Value,
    pub(super) dtype: Option<DType>,
    pub(super) kept: bool,
    pub(super) differentiable: bool,
    pub(super) fuses: bool,
    pub(super) accumulates: bool,
    pub(super) passes: bool,
}

impl Input {
    /// The value as it is stored, read by the forward pass alone.
    pub fn new(value: Value) -> Self {
        Self {
            value,
            dtype: None,
            kept: false,
            differentiable: true,
            fuses: false,
            accumulates: false,
            passes: false,
        }
    }

    /// Reads a copy of this type where the value is stored as another.
    #[must_use]
    pub fn of(self, dtype: DType) -> Self {
        Self { dtype: Some(dtype), ..self }
    }

    /// The backward pass reads the value, too.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { kept: true, ..self }
    }

    /// The node has no gradient of this input, as of indices.
    #[must_use]
    pub fn constant(self) -> Self {
        Self { differentiable: false, ..self }
    }

    /// The backward pass can apply the derivative of a fused activation to the gradient that it writes.
    #[must_use]
    pub fn fuses_activation(self) -> Self {
        Self { fuses: true, ..self }
    }

    /// The backward pass can add the gradient to what its tensor holds.
    #[must_use]
    pub fn accumulates(self) -> Self {
        Self { accumulates: true, ..self }
    }

    /// The gradient is that of output 0, element by element; the backward pass writes nothing.
    #[must_use]
    pub fn passes_gradient(self) -> Self {
        Self { passes: true, ..self }
    }
}

/// Activation that a node applies to an output, where its backward pass takes the gradient before the activation.
#[derive(Debug, Clone, Copy)]
pub struct Fused {
    /// The activation.
    pub activation: Activation,
    /// Dropout behind it, in training.
    pub dropout: Option<Dropout>,
}

impl Fused {
    /// Whether the backward pass needs the [pre-activation](PRE), and not just the output.
    pub fn needs_pre(&self) -> bool {
        !self.activation.shows_in_output()
    }
}

/// Name of the buffer that holds a fused activation's input.
pub const PRE: &str = "pre-activation";

/// An output of a node.
#[derive(Debug, Clone)]
pub struct Output {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
    pub(super) units: Units,
    pub(super) kept: bool,
    pub(super) shown: bool,
    pub(super) grad: DType,
    pub(super) fused: Option<Fused>,
    pub(super) in_place: Option<usize>,
}

impl Output {
    /// An f32 output, whose gradient the backward pass reads as f32.
    pub fn new(name: impl Into<String>, shape: &[usize]) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            dtype: DType::F32,
            units: Units::Own,
            kept: false,
            shown: false,
            grad: DType::F32,
            fused: None,
            in_place: None,
        }
    }

    /// Stored as this type.
    #[must_use]
    pub fn of(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }

    /// The columns stand for these units.
    #[must_use]
    pub fn units(self, units: Units) -> Self {
        Self { units, ..self }
    }

    /// The backward pass reads the output.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { kept: true, ..self }
    }

    /// The backward pass shows the output to methods, whatever has been added to it since.
    #[must_use]
    pub fn shown(self, shown: bool) -> Self {
        Self { shown, ..self }
    }

    /// The backward pass reads the output's gradient as this type.
    #[must_use]
    pub fn grad_of(self, grad: DType) -> Self {
        Self { grad, ..self }
    }

    /// The output stands behind a fused activation: its gradient is taken through the activation before the backward pass.
    #[must_use]
    pub fn fused(self, fused: Option<Fused>) -> Self {
        Self { fused, ..self }
    }

    /// The output may take the place of an input that nothing else reads.
    #[must_use]
    pub fn in_place_of(self, input: usize) -> Self {
        Self { in_place: Some(input), ..self }
    }
}

/// A buffer of a node's own.
#[derive(Debug, Clone)]
pub struct Buffer {
    pub(super) name: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
    pub(super) backward_only: bool,
}

impl Buffer {
    /// A buffer that the forward pass fills and the backward pass reads.
    pub fn kept(name: &'static str, shape: &[usize], dtype: DType) -> Self {
        Self { name, shape: shape.to_vec(), dtype, backward_only: false }
    }

    /// A buffer of the backward pass alone.
    pub fn scratch(name: &'static str, shape: &[usize], dtype: DType) -> Self {
        Self { name, shape: shape.to_vec(), dtype, backward_only: true }
    }
}

/// A node's place in the graph.
#[derive(Debug, Clone, Default)]
pub struct Wiring {
    /// Values that are read.
    pub inputs: Vec<Input>,
    /// Values that are made.
    pub outputs: Vec<Output>,
    /// Parameters, none of them twice.
    pub params: Vec<ParamId>,
    /// Buffers, by name.
    pub buffers: Vec<Buffer>,
}

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
        hidden: &'a crate::sparse::BlockMatrix,
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

impl Network {
    /// Kinds of the nodes, in order.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.graph().nodes.iter().map(|node| node.node.kind()).collect()
    }
}
