//! Wiring: values that a node reads and makes, its parameters and its buffers.

use super::{ParamId, Units, Value};
use crate::gpu::DType;
use crate::ops::{Activation, Dropout};

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
#[derive(Debug, Clone, Copy, PartialEq)]
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

/// Values, parameters and buffers of a node.
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
