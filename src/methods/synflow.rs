//! SynFlow (Tanaka et al. 2020).

use super::surgery::keep_by;
use super::{Budget, Method, Moment, Scope, Surgery};
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::nn::{Linear, Mlp, Network, Precision, Projection, Weight};
use crate::ops::{self, Activation, ValueScore};
use crate::sparse::BlockMatrix;

/// Rounds in which the density falls from 1 to what is wanted, by the same factor each.
const ROUNDS: i32 = 100;

/// Starts with every block and prunes without data: in a network of the weights' magnitudes and no activation, a weight
/// counts for what flows through it from inputs of 1 to the sum of the outputs.
#[derive(Debug)]
pub struct SynFlow {
    /// Whose blocks compete.
    pub scope: Scope,
}

impl Method for SynFlow {
    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        let Moment::Start { .. } = moment else { return Ok(()) };
        let places: usize = network.sparse_layers().iter().map(|(_, weight)| weight.pattern().places()).sum();
        let target: usize = network.targets().iter().sum();
        let mut stored = places;
        for round in 1..=ROUNDS {
            let density = (target as f64 / places as f64).powf(f64::from(round) / f64::from(ROUNDS));
            let count = (density * places as f64).round() as usize;
            // A round that would drop nothing would change nothing.
            if count < stored {
                let flow = flow(network.gpu(), network.mlp()?)?;
                let budget = Budget::new(self.scope, count, network);
                keep_by(network, &budget, &|rec, _, (layer, _), scores| {
                    let layer = &flow.layers()[layer];
                    let (Weight::Sparse(weight), grad) = (layer.weight(), layer.weight_grad().values())
                    else {
                        return Ok(());
                    };
                    ops::score_values(rec, weight, Some(grad), scores, ValueScore::Times)
                })?;
                stored = count;
            }
        }
        Ok(())
    }
}

/// The network of magnitudes, with its gradients.
fn flow(gpu: &Gpu, model: &Mlp) -> Result<Mlp> {
    // Scores of all layers grow alike with the scale of any one of them, so each is scaled to let through what comes in, on
    // the mean and within a factor of sqrt(2): no product overflows or vanishes. A power of two rounds no weight, so blocks
    // that are worth the same stay equals.
    let magnitudes = |values: &Tensor, outputs: usize| -> Result<Tensor> {
        let mut values = gpu.read::<f32>(values)?.wait()?;
        let sum = values.iter().map(|w| f64::from(w.abs())).sum::<f64>();
        let scale = (outputs as f64 / sum.max(f64::from(f32::MIN_POSITIVE))).log2().round().exp2();
        values.iter_mut().for_each(|w| *w = (f64::from(w.abs()) * scale) as f32);
        gpu.upload(Class::Scratch, "magnitudes", &[values.len()], &values)
    };
    let layers = model
        .layers()
        .iter()
        .map(|layer| {
            let values = magnitudes(layer.weight().values(), layer.sides()[0])?
                .reshape(layer.weight().values().shape())?;
            let weight = match layer.weight() {
                Weight::Dense(_) => Weight::Dense(values),
                Weight::Sparse(matrix) => {
                    Weight::Sparse(BlockMatrix::adopt(matrix.pattern().clone(), values)?)
                }
            };
            let projection = Projection::of(gpu, layer.name(), layer.number(), layer.sides(), weight)?;
            Linear::new(gpu, projection)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut config = model.config().clone();
    (config.activation, config.dropout) = (Activation::Identity, 0.0);
    let flow = Mlp::from_layers(gpu, config, 1, layers, Precision::F32)?;

    let mut rec = Recorder::new(gpu);
    // Features that only pad are no inputs.
    let mut ones = vec![1.0; flow.input().len()];
    ones[model.config().inputs..].fill(0.0);
    gpu.write(flow.input(), &ones)?;
    flow.forward(&mut rec, None)?;
    ops::fill(&mut rec, flow.logits_grad(), 1.0f32.to_bits())?;
    flow.backward(&mut rec, None)?;
    gpu.run(&rec.finish()?)?;
    Ok(flow)
}
