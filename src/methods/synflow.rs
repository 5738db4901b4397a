//! SynFlow (Tanaka et al. 2020).

use super::surgery::keep_by;
use super::{Budget, Method, Moment, Scope, Surgery};
use crate::Result;
use crate::gpu::{Class, Recorder, Tensor};
use crate::graph::{Network, Param, Precision, Weight};
use crate::ops::{self, ValueScore};
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
                let flow = flow(network)?;
                let budget = Budget::new(self.scope, count, network);
                keep_by(network, &budget, &|rec, _, (layer, _), scores| {
                    let layer = flow.store().get(layer);
                    let (Weight::Sparse(weight), grad) = (layer.weight(), layer.grads()) else {
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
fn flow(network: &dyn Surgery) -> Result<Network> {
    let gpu = network.gpu();
    // Scores of all layers grow alike with the scale of any one of them, so each is scaled to let through what comes in, on
    // the mean and within a factor of sqrt(2): no product overflows or vanishes. A power of two rounds no weight, so blocks
    // that are worth the same stay equals.
    let magnitudes = |param: &Param| -> Result<Tensor> {
        let mut values = gpu.read::<f32>(param.values())?.wait()?;
        let sum = values.iter().map(|w| f64::from(w.abs())).sum::<f64>();
        let scale = (param.sides()[0] as f64 / sum.max(f64::from(f32::MIN_POSITIVE))).log2().round().exp2();
        values.iter_mut().for_each(|w| *w = (f64::from(w.abs()) * scale) as f32);
        gpu.upload(Class::Scratch, "magnitudes", param.values().shape(), &values)
    };
    let copy = |param: &Param| -> Result<[Weight; 2]> {
        let shape = param.values().shape();
        let values = match param.is_matrix() {
            true => magnitudes(param)?,
            false => gpu.zeros::<f32>(Class::Scratch, "biases", shape)?,
        };
        let grads = gpu.alloc::<f32>(Class::Gradients, param.name(), shape)?;
        Ok(match param.weight() {
            Weight::Dense(_) => [Weight::Dense(values), Weight::Dense(grads)],
            Weight::Sparse(matrix) => {
                let adopt = |values| BlockMatrix::adopt(matrix.pattern().clone(), values).map(Weight::Sparse);
                [adopt(values)?, adopt(grads)?]
            }
        })
    };
    let weights = network.model().store().iter().map(copy).collect::<Result<Vec<_>>>()?;
    let graph = network.graph(1, Precision::F32)?.linearised()?;
    let flow = Network::with_params(gpu, graph, weights)?;

    let mut rec = Recorder::new(gpu);
    // Features that only pad are no inputs.
    let mut ones = vec![1.0; flow.input().len()];
    ones[network.features()..].fill(0.0);
    gpu.write(flow.input(), &ones)?;
    flow.forward(&mut rec, None)?;
    ops::fill(&mut rec, flow.logits_grad(), 1.0f32.to_bits())?;
    flow.backward(&mut rec, None)?;
    gpu.run(&rec.finish()?)?;
    Ok(flow)
}
