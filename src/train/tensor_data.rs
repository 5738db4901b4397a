//! Tensors on the host, as checkpoints and exports hold them.

use std::borrow::Cow;

use safetensors::tensor::{Dtype, View};

/// A tensor on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorData {
    /// Sizes, slowest first.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: Values,
}

/// The numbers of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Floats.
    F32(Vec<f32>),
    /// Indices.
    I32(Vec<i32>),
}

impl Values {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::I32(values) => bytemuck::cast_slice(values),
        }
    }
}

impl View for &TensorData {
    fn dtype(&self) -> Dtype {
        match self.values {
            Values::F32(_) => Dtype::F32,
            Values::I32(_) => Dtype::I32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.bytes().into()
    }

    fn data_len(&self) -> usize {
        self.values.bytes().len()
    }
}
