//! Twins of `shaders/scale/`.

use half::f16;

use crate::terms::LossScaleState;

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
