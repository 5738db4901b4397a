//! Operands: copies of tensors in the precision that products read.

use crate::Result;
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::graph::Precision;
use crate::ops::{self, Rounding};

/// Copy of a tensor that products read in its place, made anew whenever the tensor has changed; none where they read the tensor
/// itself.
#[derive(Debug)]
pub(in crate::nn) struct Operand(Option<Tensor>);

impl Operand {
    /// The operand of a tensor that is stored in the first precision, for products that read the second.
    pub(in crate::nn) fn new(
        gpu: &Gpu,
        [stored, read]: [Precision; 2],
        label: &str,
        shape: &[usize],
    ) -> Result<Self> {
        let differ = stored.half().is_some() != read.half().is_some();
        Ok(Self(differ.then(|| read.alloc(gpu, label, shape)).transpose()?))
    }

    /// Records the copy, and returns the tensor that products read in the place of `x`.
    pub(in crate::nn) fn take<'a>(&'a self, rec: &mut Recorder<'_>, x: &'a Tensor) -> Result<&'a Tensor> {
        if let Some(copy) = &self.0 {
            ops::convert(rec, x, copy, Rounding::Nearest)?;
        }
        Ok(self.of(x))
    }

    /// The tensor that products read in the place of `x`, as it was when the copy was made.
    pub(in crate::nn) fn of<'a>(&'a self, x: &'a Tensor) -> &'a Tensor {
        self.0.as_ref().unwrap_or(x)
    }
}
