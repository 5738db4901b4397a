//! What a network stores its activations and the operands of its products as.

use half::f16;

use super::Projection;
use crate::gpu::{Class, DType, Gpu, Tensor};
use crate::ops::is_scale;
use crate::random::{Key, Stream};
use crate::{Error, Result};

/// What activations and the operands of products are stored as. Sums, weights, their gradients and the optimizer's state are
/// f32 in either case.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(tag = "dtype", rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits.
    F16(Half),
}

/// How half precision is trained with.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Half {
    /// Whether weights are rounded up or down by chance, rather than to the nearest.
    pub stochastic: bool,
    /// What gradients are multiplied by at first: a power of two.
    pub loss_scale: f32,
    /// Steps without an overflow after which that doubles.
    pub patience: u32,
}

impl Default for Half {
    fn default() -> Self {
        Self { stochastic: false, loss_scale: 65536.0, patience: 2000 }
    }
}

impl Precision {
    /// Half precision, if it is that.
    pub fn half(self) -> Option<Half> {
        match self {
            Self::F32 => None,
            Self::F16(half) => Some(half),
        }
    }

    /// What activations and the operands of products are.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16(_) => DType::F16,
        }
    }

    /// Room for activations that products read.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn alloc(self, gpu: &Gpu, label: &str, shape: &[usize]) -> Result<Tensor> {
        match self {
            Self::F32 => gpu.alloc::<f32>(Class::Activations, label, shape),
            Self::F16(_) => gpu.alloc::<f16>(Class::Activations, label, shape),
        }
    }

    /// Gives a layer of the network with this seed a copy of its weights, where products do not read the weights themselves.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn narrow(self, gpu: &Gpu, layer: &mut Projection, seed: u64) -> Result<()> {
        let Some(half) = self.half() else { return Ok(()) };
        let key = half.stochastic.then(|| Key::new(seed, Stream::Rounding(layer.number() as u32)));
        layer.narrow(gpu, key)
    }

    /// Refuses what makes no sense.
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
