//! Gradual magnitude pruning (Zhu and Gupta 2017).

use serde::{Deserialize, Serialize};

use super::{Budget, Method, MutableTopology, Phase, Updates, keep};
use crate::Result;
use crate::ops::ValueScore;

/// Starts with every block, and at every update drops those with the smallest sum of |w| in each layer. The number of blocks
/// falls along a cubic, fast at first, and dropped blocks free their memory at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Magnitude {
    /// Schedule of the updates, of which fraction and decay are not used.
    pub updates: Updates,
}

impl Default for Magnitude {
    fn default() -> Self {
        Self { updates: Updates::RIGL }
    }
}

impl Magnitude {
    /// Share of the blocks beyond its target that a layer has left after an update, counted from 0: a cubic that ends at 0.
    pub fn open(update: u64, updates: u64) -> f64 {
        (1.0 - (update + 1) as f64 / updates as f64).powi(3)
    }
}

impl Method for Magnitude {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn has_phases(&self) -> bool {
        true
    }

    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        let open = match phase {
            Phase::Update { update, updates } => Self::open(update, updates),
            // A run too short for an update is pruned at its end.
            Phase::EpochEnd { epoch, epochs, .. } if epoch + 1 == epochs => 0.0,
            _ => return Ok(()),
        };
        let budget = Budget::towards_targets(network, open);
        keep(self, network, ValueScore::Abs, &budget)
    }
}
