//! Dynamic loss scaling.

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
