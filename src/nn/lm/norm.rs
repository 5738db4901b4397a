//! RMSNorm with its gain.

use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::nn::{Param, Parameter, Precision};
use crate::ops;

/// What keeps a row of zeros from being divided by 0.
const EPSILON: f32 = 1e-5;

/// A norm, with room for what passes through.
#[derive(Debug)]
pub(super) struct Norm {
    gain: Param,
    /// 1 / the root of the mean square of each row, `[rows]`.
    scale: Tensor,
    /// `[rows, width]`, in the network's precision: nothing but products reads it.
    out: Tensor,
}

impl Norm {
    pub(super) fn new(
        gpu: &Gpu,
        name: &str,
        [rows, width]: [usize; 2],
        precision: Precision,
    ) -> Result<Self> {
        Ok(Self {
            gain: Param::new(gpu, format!("{name}.weight"), &[width], &vec![1.0; width])?,
            scale: gpu.alloc::<f32>(Class::Activations, name, &[rows])?,
            out: precision.alloc(gpu, name, &[rows, width])?,
        })
    }

    /// What the last forward pass gave.
    pub(super) fn out(&self) -> &Tensor {
        &self.out
    }

    pub(super) fn parameter(&self) -> Parameter<'_> {
        self.gain.parameter()
    }

    pub(super) fn forward(&self, rec: &mut Recorder<'_>, x: &Tensor) -> Result<()> {
        ops::norm_forward(rec, x, self.gain.values(), &self.scale, &self.out, EPSILON)
    }

    // CONTRACT: `dy` is the gradient of the loss by the output.

    /// Records the gradient of the gain, and `dx`, that of the input `x`; or adds it to what `dx` holds.
    pub(super) fn backward(
        &self,
        rec: &mut Recorder<'_>,
        [x, dy, dx]: [&Tensor; 3],
        add: bool,
    ) -> Result<()> {
        ops::norm_gain(rec, dy, x, &self.scale, self.gain.grads())?;
        ops::norm_backward(rec, dy, x, self.gain.values(), &self.scale, dx, add)
    }
}
