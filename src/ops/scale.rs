//! The scale of the loss, decided on the device: `shaders/scale/`, twins in [`reference::scale`](crate::reference::scale).

use super::windows::Windows;
use super::{elementwise, finite};
use crate::gpu::{Args, Class, DType, Gpu, Key, Recorder, Tensor};
use crate::reference::LossScaleState;
use crate::{Error, Result};

/// The word that says that a gradient is not finite.
const FOUND: usize = 5;

/// What gradients are multiplied by on the way back, so that f16 does not lose the small ones (Micikevicius et al. 2018). It
/// halves where one of them is not finite, and that step changes nothing; it doubles after so many steps in which all were.
#[derive(Debug, Clone)]
pub struct LossScale(Tensor);

impl LossScale {
    /// A scale to begin with.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is no power of two within [`LossScaleState::LEAST`] and [`LossScaleState::MOST`],
    /// [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, scale: f32) -> Result<Self> {
        if !is_scale(scale) {
            let wanted = format!("a power of two from {} to {}", LossScaleState::LEAST, LossScaleState::MOST);
            return Err(Error::argument("LossScale", "scale", wanted, scale));
        }
        let words = [scale.to_bits(), 0, 0, 0, 0, 0];
        Ok(Self(gpu.upload(Class::Scratch, "loss scale", &[words.len()], &words)?))
    }

    /// Its words, as a checkpoint keeps them.
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }

    /// Reads it back. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn read(&self, gpu: &Gpu) -> Result<LossScaleState> {
        let words = gpu.read::<u32>(&self.0)?.wait()?;
        Ok(LossScaleState {
            scale: f32::from_bits(words[0]),
            factor: f32::from_bits(words[1]),
            taken: words[2],
            calm: words[3],
            skipped: words[4],
        })
    }
}

/// Whether a loss can be scaled by it without rounding anything.
pub fn is_scale(scale: f32) -> bool {
    (LossScaleState::LEAST..=LossScaleState::MOST).contains(&scale) && scale.to_bits() & 0x7F_FFFF == 0
}

/// Records `out = x * scale`; `x` is f32, `out` f32 or f16.
///
/// # Errors
/// [`Error::Argument`] where shapes or types do not fit, [`Error::Unsupported`] on a device without f16.
pub fn scale_gradient(rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor, scale: &LossScale) -> Result<()> {
    let op = "scale.apply";
    out.expect_shape(op, "out", x.shape())?;
    for window in Windows::new(rec.gpu(), x.len()).over(x).over(out).cut() {
        let (part, into) = (window.of(x)?, window.of(out)?);
        let args = Args::new().tensor("x", &part).tensor("loss_scale", &scale.0).tensor("out", &into).size(
            op,
            "n",
            window.count,
        )?;
        let key = Key::new("scale", "apply").with("half_out", out.dtype() == DType::F16);
        rec.record(&key, &args, elementwise(window.count))?;
    }
    Ok(())
}

/// Records a look at gradients of this step: if any is not finite, [`decide_scale`] skips the step.
///
/// # Errors
/// As [`finite`].
pub fn watch_gradient(rec: &mut Recorder<'_>, grads: &Tensor, scale: &LossScale) -> Result<()> {
    finite(rec, grads, &scale.0, FOUND, 1)
}

/// Records the decision whether this step counts, which optimizers and [exchanges](super::swap_pattern) heed, and what the next
/// one's scale is. `moves` says whether the optimizer moves weights if it counts: those steps alone are counted, and the scale
/// doubles after `patience` of them.
///
/// # Errors
/// As recording.
pub fn decide_scale(rec: &mut Recorder<'_>, scale: &LossScale, patience: u32, moves: bool) -> Result<()> {
    let args = Args::new()
        .tensor("loss_scale", &scale.0)
        .u32("patience", patience)
        .u32("moves", moves.into())
        .f32("least", LossScaleState::LEAST)
        .f32("most", LossScaleState::MOST);
    rec.record(&Key::new("scale", "decide"), &args, 1)
}
