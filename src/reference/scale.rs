//! Twins of `shaders/scale/`.

use half::f16;

/// State of the dynamic loss scaling: the words of `shaders/common/loss_scale.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScaleState {
    /// Factor of all gradients, a power of two.
    pub scale: f32,
    /// Inverse scale of the last step's gradients; 0 where the step was skipped.
    pub factor: f32,
    /// Steps in which the optimizer updated weights.
    pub taken: u32,
    /// Such steps since the scale last changed.
    pub calm: u32,
    /// Skipped steps, because a gradient was not finite.
    pub skipped: u32,
}

impl LossScaleState {
    /// Smallest scale. Gradients that are not finite even there have another cause.
    pub const LEAST: f32 = 1.0 / 16_777_216.0;

    /// Largest scale.
    pub const MOST: f32 = 16_777_216.0;

    /// State before the first step.
    pub fn new(scale: f32) -> Self {
        Self { scale, factor: 0.0, taken: 0, calm: 0, skipped: 0 }
    }
}

/// Applies the loss scale: `out = x * scale` as f16.
pub fn scale_gradient(x: &[f32], out: &mut [f16], scale: f32) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = f16::from_f32(x * scale);
    }
}

/// Decides whether a step counts, and the next scale. `moves` is true if the optimizer updates weights in this step.
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
