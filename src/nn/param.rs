//! What an optimizer sees, and a parameter that is no matrix: a bias, a norm's gain, a table of embeddings.

use crate::Result;
use crate::gpu::{Class, Gpu, Tensor};

/// Values and their gradient, as an optimizer sees them.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// `layers.0.weight`, as PyTorch would call it.
    pub name: String,
    /// The values.
    pub values: &'a Tensor,
    /// Their gradient, of the same shape.
    pub grads: &'a Tensor,
    /// Whether weight decay applies: to matrices, and to nothing else.
    pub decays: bool,
    /// The number of the layer among [`Network::layers`](super::Network::layers) whose weight this is, if it is one's.
    pub weight_of: Option<usize>,
}

/// A parameter that is no layer's weight, and does not decay.
#[derive(Debug)]
pub struct Param {
    name: String,
    values: Tensor,
    grads: Tensor,
}

impl Param {
    /// A parameter with these values.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if there are more or fewer than the shape says,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, name: String, shape: &[usize], values: &[f32]) -> Result<Self> {
        Ok(Self {
            values: gpu.upload(Class::Values, &name, shape, values)?,
            grads: gpu.alloc::<f32>(Class::Gradients, &name, shape)?,
            name,
        })
    }

    /// The values.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// Their gradient.
    pub fn grads(&self) -> &Tensor {
        &self.grads
    }

    /// Both, as an optimizer sees them.
    pub fn parameter(&self) -> Parameter<'_> {
        let Self { name, values, grads } = self;
        Parameter { name: name.clone(), values, grads, decays: false, weight_of: None }
    }
}
