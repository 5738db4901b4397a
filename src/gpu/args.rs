//! Arguments of a dispatch, by the names that its shader declares.

use super::tensor::Tensor;
use crate::{Error, Result};

/// Arguments of a dispatch: a tensor for each buffer of the shader, and a scalar for each member of its `params`, by name.
///
/// The order does not matter. [`Recorder::dispatch`](super::Recorder::dispatch) refuses names that the shader does not declare,
/// names without an argument, and names given twice.
#[derive(Debug, Clone, Default)]
pub struct Args<'a> {
    pub(super) tensors: Vec<Operand<'a>>,
    pub(super) scalars: Vec<(&'static str, Scalar)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Operand<'a> {
    pub(super) name: &'static str,
    pub(super) tensor: &'a Tensor,
    /// Whether the shader must not write to it.
    pub(super) read_only: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar {
    U32(u32),
    F32(f32),
}

impl<'a> Args<'a> {
    /// No arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, bound to the buffer `name`. The tensor has the dtype of the buffer's elements; integers and structs are
    /// [`DType::U32`](super::DType::U32).
    #[must_use]
    pub fn tensor(mut self, name: &'static str, tensor: &'a Tensor) -> Self {
        self.tensors.push(Operand { name, tensor, read_only: false });
        self
    }

    /// Adds a tensor to which the shader must not write.
    pub(crate) fn read_only(mut self, name: &'static str, tensor: &'a Tensor) -> Self {
        self.tensors.push(Operand { name, tensor, read_only: true });
        self
    }

    /// Adds the value of a `u32` member of `params`.
    #[must_use]
    pub fn u32(mut self, name: &'static str, value: u32) -> Self {
        self.scalars.push((name, Scalar::U32(value)));
        self
    }

    /// Adds the value of an `f32` member of `params`.
    #[must_use]
    pub fn f32(mut self, name: &'static str, value: f32) -> Self {
        self.scalars.push((name, Scalar::F32(value)));
        self
    }

    /// Adds a count or a size as a `u32`; [`Error::Argument`] for 2^32 and above.
    pub(crate) fn size(self, op: &str, name: &'static str, value: usize) -> Result<Self> {
        let value = u32::try_from(value).map_err(|_| Error::argument(op, name, "below 2^32", value))?;
        Ok(self.u32(name, value))
    }

    /// The first tensor's or scalar's name given twice. A tensor and a scalar may have one name.
    pub(super) fn repeated(&self) -> Option<&'static str> {
        let tensors: Vec<_> = self.tensors.iter().map(|operand| operand.name).collect();
        let scalars: Vec<_> = self.scalars.iter().map(|&(name, _)| name).collect();
        let repeated = |names: &[&'static str]| {
            names.iter().enumerate().find(|&(at, name)| names[..at].contains(name)).map(|(_, &name)| name)
        };
        repeated(&tensors).or_else(|| repeated(&scalars))
    }
}
