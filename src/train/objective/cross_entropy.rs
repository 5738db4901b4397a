//! Softmax cross-entropy with a class for each row.

use super::{LossPass, Objective, single};
use crate::data::Targets;
use crate::gpu::Recorder;
use crate::{Result, ops};

/// Softmax cross-entropy, in nats.
#[derive(Debug, Clone, Copy, Default)]
pub struct CrossEntropy;

impl Objective for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn targets(&self, outputs: &[Vec<usize>]) -> Result<Targets> {
        single(self.name(), outputs).map(|[_, classes]| Targets::Classes(classes))
    }

    fn counts_hits(&self) -> bool {
        true
    }

    fn record(&self, rec: &mut Recorder<'_>, pass: &LossPass<'_>) -> Result<()> {
        let LossPass { outputs, output_grads, targets, report, step, .. } = *pass;
        ops::softmax_cross_entropy(rec, outputs[0], targets, report, output_grads[0], step)
    }
}
