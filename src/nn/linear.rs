//! A linear layer, `y = x * W^T + b`.

use super::{Param, Parameter, Projection};
use crate::Result;
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::ops::{self, Activation, Dropping, Epilogue};

/// Activation and dropout behind a layer's sums and biases.
#[derive(Debug, Clone, Copy)]
pub struct Activated<'a> {
    /// Activation.
    pub activation: Activation,
    /// Dropout after it.
    pub dropout: Option<Dropping<'a>>,
    /// Pre-activation `[rows, out]`, written for the backward pass; see [`Activation::shows_in_output`].
    pub pre: Option<&'a Tensor>,
}

/// A projection, dense or block-sparse, and a bias.
#[derive(Debug)]
pub struct Linear {
    projection: Projection,
    bias: Param,
}

impl Linear {
    /// The layer of this projection, with biases of 0.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, projection: Projection) -> Result<Self> {
        let outputs = projection.sides()[0];
        let name = format!("{}.bias", projection.name());
        Ok(Self { projection, bias: Param::new(gpu, name, &[outputs], &vec![0.0; outputs])? })
    }

    /// Records `out[rows, out] = x[rows, in] * W^T + b`, then activation and dropout, if any.
    ///
    /// # Errors
    /// As the operation.
    pub fn forward(
        &self,
        rec: &mut Recorder<'_>,
        x: &Tensor,
        out: &Tensor,
        then: Option<Activated<'_>>,
    ) -> Result<()> {
        let bias = self.bias();
        let epilogue = match then {
            None => Epilogue::Bias(bias),
            Some(Activated { activation, dropout, pre }) => {
                Epilogue::Forward { bias, activation, dropout, pre }
            }
        };
        self.projection.forward(rec, x, out, epilogue)
    }

    // CONTRACT: `dy` is the gradient of the loss by this layer's output before its activation.

    /// Records the gradients of weight and bias: `dy^T * x`, on the blocks there are, and the column sums of `dy`.
    ///
    /// # Errors
    /// As the operations.
    pub fn backward_parameters(&self, rec: &mut Recorder<'_>, dy: &Tensor, x: &Tensor) -> Result<()> {
        self.projection.backward_weight(rec, dy, x)?;
        ops::column_sums(rec, dy, self.bias.grads(), false)
    }

    /// Records the gradient of the input, as [`Projection::backward_input`].
    ///
    /// # Errors
    /// As the operation.
    pub fn backward_input(
        &self,
        rec: &mut Recorder<'_>,
        dy: &Tensor,
        out: &Tensor,
        epilogue: Epilogue<'_>,
    ) -> Result<()> {
        self.projection.backward_input(rec, dy, out, epilogue)
    }

    /// The weights.
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// The same, to be changed.
    pub fn projection_mut(&mut self) -> &mut Projection {
        &mut self.projection
    }

    /// `[out]`.
    pub fn bias(&self) -> &Tensor {
        self.bias.values()
    }

    /// Weight and bias.
    pub fn parameters(&self) -> [Parameter<'_>; 2] {
        [self.projection.parameter(), self.bias.parameter()]
    }
}
