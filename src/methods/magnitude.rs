//! Gradual magnitude pruning (Zhu and Gupta 2017).

use super::{Budget, Method, Moment, Surgery, keep};
use crate::Result;
use crate::ops::ValueScore;

/// Starts with every block and drops those of the smallest magnitude, layer by layer, at every update: fast at first and
/// slowly in the end, along a cubic. What is dropped is gone from memory at once.
#[derive(Debug)]
pub struct Magnitude;

impl Method for Magnitude {
    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        let open = match moment {
            Moment::Update { turn, turns } => 1.0 - (turn + 1) as f64 / turns as f64,
            // A run too short for an update is pruned all the same.
            Moment::EpochEnd { epoch, epochs, .. } if epoch + 1 == epochs => 0.0,
            _ => return Ok(()),
        };
        let budget = Budget::towards_targets(network, open.powi(3));
        keep(network, ValueScore::Abs, &budget)
    }
}
