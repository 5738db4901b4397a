//! Dynamic loss scaling on the device: `shaders/scale/`, twins in [`reference::scale`](crate::reference::scale).

use super::windows::Windows;
use super::{elementwise, finite};
use crate::gpu::{Args, Class, DType, Gpu, Key, Recorder, Tensor};
use crate::terms::LossScaleState;
use crate::{Error, Result};

/// Word of the state that flags a non-finite gradient.
const FOUND: usize = 5;

/// Loss scale: factor of all gradients in the backward pass, against f16 underflow (Micikevicius et al. 2018). It is
/// halved after a non-finite gradient, whose step is skipped, and doubled after a number of finite steps.
#[derive(Debug, Clone)]
pub struct LossScale(Tensor);

impl LossScale {
    /// Allocates a loss scale with this initial value.
    ///
    /// # Errors
    /// [`Error::Argument`] unless it is a power of two from [`LossScaleState::LEAST`] to [`LossScaleState::MOST`],
    /// [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, scale: f32) -> Result<Self> {
        if !is_scale(scale) {
            let wanted = format!("a power of two from {} to {}", LossScaleState::LEAST, LossScaleState::MOST);
            return Err(Error::argument("LossScale", "scale", wanted, scale));
        }
        let words = [scale.to_bits(), 0, 0, 0, 0, 0];
        Ok(Self(gpu.upload(Class::Scratch, "loss scale", &[words.len()], &words)?))
    }

    /// State words, in the form that checkpoints store.
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }

    /// Reads the state back. Blocks until the device is done.
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

/// Whether `scale` is a valid loss scale: a power of two in range, which scales without rounding.
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

/// Records a scan of this step's gradients: if any is not finite, [`decide_scale`] skips the step.
///
/// # Errors
/// Like [`finite`].
pub fn watch_gradient(rec: &mut Recorder<'_>, grads: &Tensor, scale: &LossScale) -> Result<()> {
    finite(rec, grads, &scale.0, FOUND, 1)
}

/// Records the decision whether this step counts, which optimizers and [slot swaps](super::swap_pattern) obey, and
/// the next step's scale. `moves` is true if the optimizer updates weights in this step; only such steps are counted,
/// and the scale doubles after `patience` of them.
///
/// # Errors
/// Those of recording a dispatch.
pub fn decide_scale(rec: &mut Recorder<'_>, scale: &LossScale, patience: u32, moves: bool) -> Result<()> {
    record_decision(rec, scale, patience, moves, None)
}

/// Most elements that one workgroup scans along with the decision.
const FEW: usize = 1 << 16;

/// [`watch_gradient`] of all these gradients, and [`decide_scale`]. The last gradients are scanned by the dispatch that decides, if
/// they are few.
///
/// # Errors
/// As both.
pub(crate) fn watch_and_decide(
    rec: &mut Recorder<'_>,
    grads: &[Tensor],
    scale: &LossScale,
    patience: u32,
    moves: bool,
) -> Result<()> {
    let (last, before) = match grads.split_last() {
        Some((last, before)) if (1..=FEW).contains(&last.len()) => (Some(last), before),
        _ => (None, grads),
    };
    before.iter().try_for_each(|grads| watch_gradient(rec, grads, scale))?;
    record_decision(rec, scale, patience, moves, last)
}

fn record_decision(
    rec: &mut Recorder<'_>,
    scale: &LossScale,
    patience: u32,
    moves: bool,
    watched: Option<&Tensor>,
) -> Result<()> {
    let mut args = Args::new()
        .tensor("loss_scale", &scale.0)
        .u32("patience", patience)
        .u32("moves", moves.into())
        .f32("least", LossScaleState::LEAST)
        .f32("most", LossScaleState::MOST);
    if let Some(x) = watched {
        args = args.tensor("x", x).size("scale.decide", "n", x.len())?;
    }
    rec.record(&Key::new("scale", "decide").with("watched", watched.is_some()), &args, 1)
}
