//! Precision of activations and of the operands of products.

use half::f16;

use crate::gpu::{Class, DType, Gpu, Tensor};
use crate::ops::is_scale;
use crate::{Error, Result};

/// Type of stored activations and of the operands of products. Sums, weights, gradients and optimizer state are f32 in either
/// case.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(tag = "dtype", rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits.
    F16(Half),
}

/// Options of training in half precision.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Half {
    /// Whether f16 copies of weights are rounded stochastically rather than to the nearest.
    pub stochastic: bool,
    /// First scale of the loss, a power of two: gradients are multiplied by it in the backward pass.
    pub loss_scale: f32,
    /// Steps without an overflow after which the scale doubles.
    pub patience: u32,
}

impl Default for Half {
    fn default() -> Self {
        Self { stochastic: false, loss_scale: 65536.0, patience: 2000 }
    }
}

impl Precision {
    /// Options of half precision; `None` for f32.
    pub fn half(self) -> Option<Half> {
        match self {
            Self::F32 => None,
            Self::F16(half) => Some(half),
        }
    }

    /// Type of activations and operands.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16(_) => DType::F16,
        }
    }

    /// Allocates an activation of this precision.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn alloc(self, gpu: &Gpu, label: &str, shape: &[usize]) -> Result<Tensor> {
        match self {
            Self::F32 => gpu.alloc::<f32>(Class::Activations, label, shape),
            Self::F16(_) => gpu.alloc::<f16>(Class::Activations, label, shape),
        }
    }

    /// Refuses a scale that is no power of two, and a patience of 0.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(self) -> Result<()> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        match self.half() {
            Some(half) if !is_scale(half.loss_scale) => {
                bad("loss-scale", format!("{} is no power of two within 2^-24 and 2^24", half.loss_scale))
            }
            Some(Half { patience: 0, .. }) => bad("patience", "0 steps show nothing".to_owned()),
            _ => Ok(()),
        }
    }
}
