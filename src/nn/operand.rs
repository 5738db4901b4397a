//! What products read of a tensor that is stored in another precision than theirs.

use super::Precision;
use crate::Result;
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::ops::{self, Rounding, Step};

/// A copy of a tensor that products read in its place, made anew whenever the tensor has changed. Where they read what is
/// stored there is none.
#[derive(Debug)]
pub(super) struct Operand(Option<Tensor>);

impl Operand {
    /// Of a tensor that is stored in the first precision, for products that read the second.
    pub(super) fn new(
        gpu: &Gpu,
        [stored, read]: [Precision; 2],
        label: &str,
        shape: &[usize],
    ) -> Result<Self> {
        let differ = stored.half().is_some() != read.half().is_some();
        Ok(Self(differ.then(|| read.alloc(gpu, label, shape)).transpose()?))
    }

    /// Records the copy, and says what products read of `x` from then on.
    pub(super) fn take<'a>(&'a self, rec: &mut Recorder<'_>, x: &'a Tensor) -> Result<&'a Tensor> {
        if let Some(copy) = &self.0 {
            ops::convert(rec, x, copy, Rounding::Nearest)?;
        }
        Ok(self.of(x))
    }

    /// The same for the gradient that the way back begins with: where the step scales gradients, it does so here.
    pub(super) fn begin<'a>(
        &'a self,
        rec: &mut Recorder<'_>,
        grad: &'a Tensor,
        step: Option<&Step>,
    ) -> Result<&'a Tensor> {
        match (&self.0, step.and_then(Step::scale)) {
            (Some(scaled), Some(scale)) => {
                ops::scale_gradient(rec, grad, scaled, scale)?;
                Ok(scaled)
            }
            _ => self.take(rec, grad),
        }
    }

    /// Whether products read a copy.
    pub(super) fn is_copy(&self) -> bool {
        self.0.is_some()
    }

    /// What products read of `x`, as it was when the copy was made.
    pub(super) fn of<'a>(&'a self, x: &'a Tensor) -> &'a Tensor {
        self.0.as_ref().unwrap_or(x)
    }
}
