//! Softmax cross-entropy with a distribution over the classes for each row.

use super::{LossPass, Objective, single};
use crate::data::Targets;
use crate::gpu::Recorder;
use crate::{Result, ops};

/// Softmax cross-entropy with soft targets, in nats: labels that are smoothed, or the probabilities of another network.
#[derive(Debug, Clone, Copy, Default)]
pub struct SoftCrossEntropy;

impl Objective for SoftCrossEntropy {
    fn name(&self) -> &'static str {
        "soft-cross-entropy"
    }

    fn targets(&self, outputs: &[Vec<usize>]) -> Result<Targets> {
        single(self.name(), outputs).map(|[_, columns]| Targets::Values(columns))
    }

    fn counts_hits(&self) -> bool {
        true
    }

    fn record(&self, rec: &mut Recorder<'_>, pass: &LossPass<'_>) -> Result<()> {
        let LossPass { outputs, output_grads, targets, report, step, .. } = *pass;
        ops::soft_cross_entropy(rec, outputs[0], targets, report, output_grads[0], step)
    }
}
