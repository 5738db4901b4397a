//! What products read of a tensor that is f32 whatever the precision.

use super::Precision;
use crate::Result;
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::ops::{self, Rounding, Step};

/// A copy in half precision that products read in the place of a tensor in f32, made anew whenever that has changed. In f32
/// there is none: products read the tensor itself.
#[derive(Debug)]
pub(super) struct Operand(Option<Tensor>);

impl Operand {
    pub(super) fn new(gpu: &Gpu, precision: Precision, label: &str, shape: &[usize]) -> Result<Self> {
        Ok(Self(precision.half().map(|_| precision.alloc(gpu, label, shape)).transpose()?))
    }

    /// Records the copy, and says what products read of `x` from then on.
    pub(super) fn take<'a>(&'a self, rec: &mut Recorder<'_>, x: &'a Tensor) -> Result<&'a Tensor> {
        if let Some(half) = &self.0 {
            ops::convert(rec, x, half, Rounding::Nearest)?;
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
