//! Softmax cross-entropy of many networks side by side, each with a class for each row.

use super::{LossPass, Objective};
use crate::data::Targets;
use crate::gpu::Recorder;
use crate::nn::MlpsConfig;
use crate::ops::{self, Distilled, NetworkLoss, SideBySide};
use crate::{Error, Result};

/// Softmax cross-entropy of each of many networks, in nats. The loss is their sum, so that the gradient of each is that of its own loss
/// alone. In [codistillation](crate::nn::Codistillation) a second term is added, of which no loss is reported.
#[derive(Debug, Clone)]
pub struct NetworksCrossEntropy {
    /// The networks in each output.
    outputs: Vec<SideBySide>,
    /// Factor of the second term.
    weight: f32,
    /// Whether each training row counts for one network alone.
    disjoint: bool,
}

impl NetworksCrossEntropy {
    /// The loss of these networks.
    pub fn new(of: &MlpsConfig) -> Self {
        let (weight, disjoint) = match of.together.codistillation() {
            Some(options) => (options.weight, options.disjoint),
            None => (0.0, false),
        };
        Self { outputs: of.side_by_side(), weight, disjoint }
    }
}

impl Objective for NetworksCrossEntropy {
    fn name(&self) -> &'static str {
        "networks-cross-entropy"
    }

    fn targets(&self, outputs: &[Vec<usize>]) -> Result<Targets> {
        let widths = |shape: &Vec<usize>| shape.get(1).copied().unwrap_or(0);
        let wanted = self.outputs.iter().map(|of| of.networks * of.columns);
        if !outputs.iter().map(widths).eq(wanted) {
            let found = format!("{outputs:?}");
            return Err(Error::argument(self.name(), "outputs", "the logits of the networks", found));
        }
        Ok(Targets::Classes(self.outputs.first().map_or(0, |of| of.classes)))
    }

    fn counts_hits(&self) -> bool {
        true
    }

    fn networks(&self) -> Option<usize> {
        self.outputs.first().map(|of| of.all)
    }

    fn shares_out_rows(&self) -> bool {
        self.disjoint
    }

    fn record(&self, rec: &mut Recorder<'_>, pass: &LossPass<'_>) -> Result<()> {
        let outputs = pass.outputs.iter().zip(pass.output_grads).zip(&self.outputs);
        for ((logits, grad), &of) in outputs {
            let of = SideBySide { shared_out: self.disjoint && pass.training, ..of };
            let distilled = pass.taught.map(|probabilities| Distilled { probabilities, weight: self.weight });
            let loss = NetworkLoss { of, distilled };
            let (targets, report) = (pass.targets, pass.report);
            ops::networks_cross_entropy(rec, logits, targets, report, grad, pass.step, loss)?;
        }
        Ok(())
    }
}
