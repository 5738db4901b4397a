//! Pruning before training by sensitivity: SNIP (Lee et al. 2019), and SBP-SR (Hayou et al. 2021).

use super::{Budget, Method, Moment, Surgery, keep};
use crate::Result;
use crate::ops::{Activation, ValueScore};

/// Starts with every block and keeps those with the largest sum of |w * g| over one batch, in all layers together. Nothing
/// keeps it from emptying a layer; a run that would have an empty one is refused.
#[derive(Debug)]
pub struct Snip;

fn prune(network: &mut dyn Surgery) -> Result<()> {
    network.backward(0)?;
    let total = network.targets().iter().sum();
    keep(network, ValueScore::Times, &Budget::Global(total))
}

impl Method for Snip {
    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        match moment {
            Moment::Start { .. } => prune(network),
            _ => Ok(()),
        }
    }
}

/// SNIP, after which each layer's weights are rescaled so that signals keep their variance from layer to layer as at the
/// edge of chaos: the sum of squares that reaches an output is again what the activation makes up for.
#[derive(Debug)]
pub struct SbpSr;

impl Method for SbpSr {
    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        let Moment::Start { .. } = moment else { return Ok(()) };
        prune(network)?;
        let gpu = network.gpu().clone();
        let activation = network.model().config().activation;
        for (_, weight) in network.sparse_layers() {
            let mut values = gpu.read::<f32>(weight.values())?.wait()?;
            let squares: f64 = values.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
            let per_output = squares / weight.pattern().rows() as f64;
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
