//! The step whose values the checks of training kernels read.

use crate::Result;
use crate::gpu::Gpu;
use crate::ops::{AdamW, Step, StepValues};

/// More than one workgroup, and not a whole number of them.
pub(super) const COUNT: usize = 1000;

pub(super) const ADAM: AdamW = AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };

/// Index of the step whose values the checks read.
pub(super) const INDEX: u32 = 9;

pub(super) fn step(gpu: &Gpu) -> Result<Step> {
    Step::new(
        gpu,
        StepValues {
            index: INDEX,
            learning_rate: 0.05,
            row_scale: 0.125,
            corrections: ADAM.corrections(INDEX),
            moves: INDEX + 1,
        },
    )
}
