//! Per-step values of a plan: `shaders/common/step.wgsl`.

use super::LossScale;
use crate::Result;
use crate::gpu::{Args, Gpu, Tensor};

/// Values of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepValues {
    /// Step number, from 0: part of the counter of every random draw.
    pub index: u32,
    /// Learning rate of the optimizer.
    pub learning_rate: f32,
    /// Inverse number of rows that count in this batch.
    pub row_scale: f32,
    /// Bias corrections [`AdamW::corrections`](super::AdamW::corrections) of this step.
    pub corrections: [f32; 2],
    /// Weight updates, this step's included; births of blocks are counted in them. With a [loss scale](Step::scale)
    /// the device counts them instead.
    pub moves: u32,
}

impl StepValues {
    /// Values for a forward pass only. Gradients or updates recorded by mistake become NaN and are detected, which a
    /// learning rate of 0 or a scale of 1 would not be.
    pub fn forward(index: u32) -> Self {
        Self { index, learning_rate: f32::NAN, row_scale: f32::NAN, corrections: [f32::NAN; 2], moves: index }
    }

    /// Values for a backward pass without an update; gradients are averaged by `row_scale`. An update recorded by
    /// mistake becomes NaN.
    pub fn backward(index: u32, row_scale: f32) -> Self {
        Self { row_scale, ..Self::forward(index) }
    }

    /// Words in the order of the shader's struct, padded to a uniform buffer's multiple of 16 bytes.
    fn words(&self) -> [u32; 8] {
        let [first, second] = self.corrections.map(f32::to_bits);
        [self.index, self.learning_rate.to_bits(), self.row_scale.to_bits(), first, second, self.moves, 0, 0]
    }
}

/// Uniform buffer with the values of the current step. A plan that binds it is replayed with new values after each
/// [`Step::write`].
#[derive(Debug, Clone)]
pub struct Step {
    now: Tensor,
    scale: Option<LossScale>,
}

impl Step {
    /// Allocates the buffer.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, values: StepValues) -> Result<Self> {
        Ok(Self { now: gpu.uniform_words("step", &values.words())?, scale: None })
    }

    /// This step with scaled gradients: optimizers divide by the scale, and do nothing in a skipped step.
    #[must_use]
    pub fn with_scale(self, scale: LossScale) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// Loss scale of the gradients, if any.
    pub fn scale(&self) -> Option<&LossScale> {
        self.scale.as_ref()
    }

    /// Writes the values for all later submissions.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn write(&self, gpu: &Gpu, values: StepValues) -> Result<()> {
        gpu.write(&self.now, &values.words())
    }

    /// Adds the values as an argument of a [dispatch](crate::gpu::Recorder::dispatch), bound to the buffer `now`, which a shader
    /// imports from `common/step`.
    #[must_use]
    pub fn bind<'a>(&'a self, args: Args<'a>) -> Args<'a> {
        args.tensor("now", &self.now)
    }

    pub(super) fn tensor(&self) -> &Tensor {
        &self.now
    }
}
