//! Pruning before training by sensitivity: SNIP (Lee et al. 2019), and SBP-SR (Hayou et al. 2021).

use serde::{Deserialize, Serialize};

use super::{Budget, Method, MutableTopology, Phase, Scope, keep};
use crate::graph::Graph;
use crate::ops::{Activation, ValueScore};
use crate::{Error, Result};

/// Starts with every block and keeps those with the largest sum of |w * dw| over one batch. With a global scope a layer may lose
/// all its blocks; such a run is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snip {
    /// Scope of pruning.
    pub scope: Scope,
}

fn prune(method: &dyn Method, scope: Scope, network: &mut dyn MutableTopology) -> Result<()> {
    network.backward(0)?;
    let budget = Budget::new(scope, network.targets().iter().sum(), network);
    keep(method, network, ValueScore::Times, &budget)
}

impl Method for Snip {
    fn measures_gradients(&self) -> bool {
        true
    }

    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        match phase {
            Phase::Start { .. } => prune(self, self.scope, network),
            _ => Ok(()),
        }
    }
}

/// SNIP, after which each layer's weights are rescaled so that signals keep their variance from layer to layer, at the edge of
/// chaos: the sum of the squares of an output's weights is on average the gain of the activation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SbpSr {
    /// Scope of pruning.
    pub scope: Scope,
}

impl Method for SbpSr {
    fn accepts(&self, graph: &Graph) -> Result<()> {
        if graph.kinds().any(|kind| kind == "norm") {
            let reason = "sbp-sr rescales layers, and a norm undoes that".to_owned();
            return Err(Error::Config { option: "method", reason });
        }
        Ok(())
    }

    fn measures_gradients(&self) -> bool {
        true
    }

    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        let Phase::Start { .. } = phase else { return Ok(()) };
        prune(self, self.scope, network)?;
        let gpu = network.gpu().clone();
        for (param, weight) in network.sparse_layers() {
            let activation = network.model().graph().activation(param).unwrap_or(Activation::Identity);
            let mut values = gpu.read::<f32>(weight.values())?.wait()?;
            let squares: f64 = values.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
            // The minimum keeps weights of 0 at 0.
            let per_output = squares.max(f64::from(f32::MIN_POSITIVE)) / weight.pattern().rows() as f64;
            let scale = (gain(activation) / per_output).sqrt() as f32;
            values.iter_mut().for_each(|w| *w *= scale);
            gpu.write(weight.values(), &values)?;
        }
        Ok(())
    }
}

/// Gain of an activation: 1 / the share of the mean square of a centred signal that it passes.
fn gain(activation: Activation) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        // GELU and SiLU pass nearly the share that ReLU passes.
        Activation::Relu | Activation::Gelu | Activation::Silu => 2.0,
        Activation::AllRelu { slope } => 2.0 / (1.0 + f64::from(slope * slope)),
    }
}
