//! What can be trained.

use std::fmt;

use super::{Mlp, Parameter, Projection};
use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::ops::Step;
use crate::sparse::BlockMatrix;

/// What passed through a layer in a step.
#[derive(Debug, Clone, Copy)]
pub struct Passage<'a> {
    /// The layer's number among [`Network::layers`].
    pub layer: usize,
    /// Factors of its weight's gradient.
    pub signals: Signals<'a>,
}

/// Factors of the gradient of a layer's weight.
#[derive(Debug, Clone, Copy)]
pub enum Signals<'a> {
    /// A layer that every row passes: `dy^T * x`.
    Rows {
        /// Its input, `[rows, in]`.
        x: &'a Tensor,
        /// Its output after the activation, `[rows, out]`.
        y: &'a Tensor,
        /// The gradient of its output before the activation, `[rows, out]`.
        dy: &'a Tensor,
    },
    /// A layer of all experts, a row of its weight per hidden unit: `hidden^T * x[tokens]`.
    Routed {
        /// The gradient of the hidden units, or of the lower layer the hidden units, each times the weight of its row: on the
        /// blocks of the routing, `[rows, hidden units]`.
        hidden: &'a BlockMatrix,
        /// Inputs of the mixture, or for the lower layer the gradient of its output: `[tokens, width]`.
        x: &'a Tensor,
        /// The token of each row; rows that pad have one past the last.
        tokens: &'a Tensor,
    },
}

/// What passed through a mixture of experts in training, since the totals were last set to 0.
#[derive(Debug, Clone)]
pub struct Load<'a> {
    /// `blocks.0.feed`, say.
    pub name: String,
    /// Tokens that each expert got, `u32[experts]`.
    pub taken: &'a Tensor,
    /// Tokens that chose it, and that it had no room for.
    pub dropped: &'a Tensor,
    /// The losses of balance at the last step: auxiliary, importance, load and z, and their sum with their coefficients. None
    /// where nothing is learned of the choices.
    pub losses: Option<&'a Tensor>,
}

/// What records something after a layer's backward pass.
pub type After<'a> = dyn FnMut(&mut Recorder<'_>, Passage<'_>) -> Result<()> + 'a;

/// A network, with room for a batch to pass through.
pub trait Network: fmt::Debug + Send {
    /// The matrices of the layers, in the order that signals pass them. Patterns of those that are sparse may evolve.
    fn layers(&self) -> Vec<&Projection>;

    /// One of them, to be changed.
    fn layer_mut(&mut self, layer: usize) -> Option<&mut Projection>;

    /// Everything that is trained, the parameters of the layers among them.
    fn parameters(&self) -> Vec<Parameter<'_>>;

    /// What steps change besides the parameters, by name. A checkpoint keeps it.
    fn state(&self) -> Vec<(String, &Tensor)> {
        Vec::new()
    }

    /// The loads of its mixtures of experts.
    fn loads(&self) -> Vec<Load<'_>> {
        Vec::new()
    }

    /// Where a batch comes in: `[rows, features]` of `f32`, or `[rows]` of `u32`.
    fn input(&self) -> &Tensor;

    /// `[rows, classes]`.
    fn logits(&self) -> &Tensor;

    /// The gradient of the logits, of the same shape; the loss writes it.
    fn logits_grad(&self) -> &Tensor;

    /// Records that products see the weights as they are now: after any change of them, and before the first pass. Nothing
    /// where they read the weights themselves; see [`Projection::refresh`].
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) on a device without half precision.
    fn refresh(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        self.layers().into_iter().try_for_each(|layer| layer.refresh(rec, step))
    }

    /// Records the way from the input to the logits, with weights as of the last [refresh](Network::refresh). With a `step`, as
    /// in training: what is drawn at random is drawn for that step.
    ///
    /// # Errors
    /// As the operations.
    fn forward(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()>;

    /// Records the way back from the gradient of the logits to the gradient of every parameter. With a `step`, through the
    /// draws of the forward pass. `after` records something after each layer's backward pass: what passed through the layer
    /// is still there, and nobody needs its weight any more.
    ///
    /// # Errors
    /// As the operations, and as `after`.
    fn backward_with(&self, rec: &mut Recorder<'_>, step: Option<&Step>, after: &mut After<'_>)
    -> Result<()>;

    /// The same, and nothing after it.
    ///
    /// # Errors
    /// As the operations.
    fn backward(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        self.backward_with(rec, step, &mut |_, _| Ok(()))
    }

    /// Outputs of layers on the way to the logits, by the layer's name: `[rows, width]` after the activation. A test looks whether
    /// any of them carries no signal. The logits come last.
    fn activations(&self) -> Vec<(String, &Tensor)> {
        vec![("logits".to_owned(), self.logits())]
    }

    /// What is scanned for NaN and infinity, in the order that signals pass.
    fn stages(&self) -> Vec<String>;

    /// Records those scans, a word of `status` per stage: bit 0 for its output, bit 1 for the gradient of its weight.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if `status` has fewer words than there are stages.
    fn scan(&self, rec: &mut Recorder<'_>, status: &Tensor) -> Result<()>;

    /// Stored elements of the parameters.
    fn params_present(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.values.len()).sum()
    }

    /// This network, if it is a multi-layer perceptron: some methods know no other.
    fn as_mlp(&self) -> Option<&Mlp> {
        None
    }
}
