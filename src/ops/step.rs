//! What changes from step to step: `shaders/common/step.wgsl`.

use super::LossScale;
use crate::Result;
use crate::gpu::{Gpu, Tensor};

/// The values of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepValues {
    /// The step's number, from 0: part of every random draw's counter.
    pub index: u32,
    /// The optimizer's step size.
    pub learning_rate: f32,
    /// 1 / the number of rows that count in this batch.
    pub row_scale: f32,
    /// [`AdamW::corrections`](super::AdamW::corrections) of this step.
    pub corrections: [f32; 2],
    /// Steps in which the optimizer has moved weights once this one is over: births of blocks are counted in them. Where
    /// gradients are [scaled](Step::scale) the device counts them instead.
    pub moves: u32,
}

impl StepValues {
    /// Values for a pass that makes no gradient and updates nothing. Whatever does so by mistake becomes NaN, which is seen,
    /// where a learning rate of 0 or an average over one row would not be.
    pub fn forward(index: u32) -> Self {
        Self { index, learning_rate: f32::NAN, row_scale: f32::NAN, corrections: [f32::NAN; 2], moves: index }
    }

    /// Values for a pass that makes gradients, averaged by `row_scale`, and updates nothing. An update by mistake becomes NaN.
    pub fn backward(index: u32, row_scale: f32) -> Self {
        Self { row_scale, ..Self::forward(index) }
    }

    /// In the shader's order; a uniform's size is a multiple of 16 bytes.
    fn words(&self) -> [u32; 8] {
        let [first, second] = self.corrections.map(f32::to_bits);
        [self.index, self.learning_rate.to_bits(), self.row_scale.to_bits(), first, second, self.moves, 0, 0]
    }
}

/// The place on the device where the values of the current step stand. A plan that uses it is replayed with new
/// values after each [`Step::write`].
#[derive(Debug, Clone)]
pub struct Step {
    now: Tensor,
    scale: Option<LossScale>,
}

impl Step {
    /// A place of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, values: StepValues) -> Result<Self> {
        Ok(Self { now: gpu.uniform_words("step", &values.words())?, scale: None })
    }

    /// The same where gradients are scaled: optimizers undo that, and do nothing where the step is skipped.
    #[must_use]
    pub fn with_scale(self, scale: LossScale) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// What gradients are multiplied by, if they are.
    pub fn scale(&self) -> Option<&LossScale> {
        self.scale.as_ref()
    }

    /// Sets the values for what is submitted from now on.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn write(&self, gpu: &Gpu, values: StepValues) -> Result<()> {
        gpu.write(&self.now, &values.words())
    }

    pub(super) fn tensor(&self) -> &Tensor {
        &self.now
    }
}
