//! Twins of `shaders/scale/`.

use half::f16;

/// The loss scale and what it is decided by: the words that `shaders/common/loss_scale.wgsl` names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScaleState {
    /// What gradients are multiplied by: a power of two.
    pub scale: f32,
    /// 1 / the scale of the last step's gradients; 0 where the step was skipped.
    pub factor: f32,
    /// Steps in which the optimizer moved weights.
    pub taken: u32,
    /// Those among them since the scale last changed.
    pub calm: u32,
    /// Steps that did not, because a gradient was not finite.
    pub skipped: u32,
}

impl LossScaleState {
    /// The least scale there is. A gradient that is not finite even so is so for another reason.
    pub const LEAST: f32 = 1.0 / 16_777_216.0;

    /// The largest scale there is.
    pub const MOST: f32 = 16_777_216.0;

    /// Before the first step.
    pub fn new(scale: f32) -> Self {
        Self { scale, factor: 0.0, taken: 0, calm: 0, skipped: 0 }
    }
}

/// `out = x * scale` as f16.
pub fn scale_gradient(x: &[f32], out: &mut [f16], scale: f32) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = f16::from_f32(x * scale);
    }
}

/// Whether a step counts, and the scale of the next. `moves` says whether the optimizer moves weights in it if it counts.
pub fn decide_scale(state: &mut LossScaleState, found: bool, patience: u32, moves: bool) {
    let scale = state.scale;
    if found {
        state.factor = 0.0;
        state.calm = 0;
        state.skipped += 1;
        state.scale = (scale * 0.5).max(LossScaleState::LEAST);
        return;
    }
    state.factor = 1.0 / scale;
    state.taken += u32::from(moves);
    state.calm += u32::from(moves);
    if state.calm >= patience {
        state.calm = 0;
        state.scale = (scale * 2.0).min(LossScaleState::MOST);
    }
}
