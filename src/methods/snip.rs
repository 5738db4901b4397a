//! Pruning before training by sensitivity: SNIP (Lee et al. 2019), and SBP-SR (Hayou et al. 2021).

use super::{Budget, Method, Moment, Scope, Surgery, keep};
use crate::ops::{Activation, ValueScore};
use crate::{Error, Result};

/// Starts with every block and keeps those with the largest sum of |w * g| over one batch. Where all layers compete, nothing
/// keeps it from emptying one; such a run is refused.
#[derive(Debug)]
pub struct Snip {
    /// Whose blocks compete.
    pub scope: Scope,
}

fn prune(network: &mut dyn Surgery, scope: Scope) -> Result<()> {
    network.backward(0)?;
    let budget = Budget::new(scope, network.targets().iter().sum(), network);
    keep(network, ValueScore::Times, &budget)
}

impl Method for Snip {
    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        match moment {
            Moment::Start { .. } => prune(network, self.scope),
            _ => Ok(()),
        }
    }
}

/// SNIP, after which each layer's weights are rescaled so that signals keep their variance from layer to layer as at the
/// edge of chaos: the sum of squares that reaches an output is again what the activation makes up for.
#[derive(Debug)]
pub struct SbpSr {
    /// Whose blocks compete.
    pub scope: Scope,
}

impl Method for SbpSr {
    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        let Moment::Start { .. } = moment else { return Ok(()) };
        prune(network, self.scope)?;
        let gpu = network.gpu().clone();
        if network.model().kinds().iter().any(|&kind| kind == "norm") {
            let reason = "sbp-sr rescales layers, and a norm undoes that".to_owned();
            return Err(Error::Config { option: "method", reason });
        }
        for (param, weight) in network.sparse_layers() {
            let activation = network.model().graph().activation(param).unwrap_or(Activation::Identity);
            let mut values = gpu.read::<f32>(weight.values())?.wait()?;
            let squares: f64 = values.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
            // Zeros stay zeros.
            let per_output = squares.max(f64::from(f32::MIN_POSITIVE)) / weight.pattern().rows() as f64;
            let scale = (gain(activation) / per_output).sqrt() as f32;
            values.iter_mut().for_each(|w| *w *= scale);
            gpu.write(weight.values(), &values)?;
        }
        Ok(())
    }
}

/// 1 / the share of the mean square of a centred signal that an activation lets through.
fn gain(activation: Activation) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        // GELU and SiLU let through nearly what ReLU does.
        Activation::Relu | Activation::Gelu | Activation::Silu => 2.0,
        Activation::AllRelu { slope } => 2.0 / (1.0 + f64::from(slope * slope)),
    }
}
