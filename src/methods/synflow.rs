//! SynFlow (Tanaka et al. 2020).

use serde::{Deserialize, Serialize};

use super::{Budget, Method, MutableTopology, Phase, Scope, keep_by};
use crate::gpu::{Class, Recorder, Tensor};
use crate::graph::{Graph, Network, Param, Weight};
use crate::ops::{self, ValueScore};
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// Rounds in which the density falls from 1 to its target, each by one factor.
const ROUNDS: i32 = 100;

/// Starts with every block and prunes without data: in a linear network of the weights' magnitudes, the score of a weight is the
/// flow through it from inputs of 1 to the sum of the outputs, |w| times its gradient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SynFlow {
    /// Scope of pruning.
    pub scope: Scope,
}

impl Method for SynFlow {
    fn name(&self) -> String {
        "synflow".to_owned()
    }

    fn accepts(&self, graph: &Graph) -> Result<()> {
        let reason = match graph.nonlinear() {
            Some(node) => format!("synflow follows the flow through linear layers, and {node} is none"),
            None if graph.has_heads() => {
                "synflow follows the flow through a whole network, and this one is composed of parts with losses of their own"
                    .to_owned()
            }
            None => return Ok(()),
        };
        Err(Error::Config { option: "method", reason })
    }

    fn measures_gradients(&self) -> bool {
        true
    }

    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        let Phase::Start { .. } = phase else { return Ok(()) };
        let places: usize = network.sparse_layers().iter().map(|(_, weight)| weight.pattern().places()).sum();
        let target: usize = network.targets().iter().sum();
        let mut stored = places;
        for round in 1..=ROUNDS {
            let density = (target as f64 / places as f64).powf(f64::from(round) / f64::from(ROUNDS));
            let count = (density * places as f64).round() as usize;
            // A round that drops no block needs no pass.
            if count < stored {
                let flow = flow(network)?;
                let budget = Budget::new(self.scope, count, network);
                keep_by(self, network, &budget, &|rec, _, (layer, _), scores| {
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

/// The linear network of magnitudes, with its gradients.
fn flow(network: &dyn MutableTopology) -> Result<Network> {
    let gpu = network.gpu();
    // A factor on one layer scales the scores of all layers alike. So each layer is scaled to pass its mean input within a factor
    // of sqrt(2), and no product overflows or vanishes. A power of two rounds no weight, so that blocks of equal score stay equal.
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
    let graph = network.smallest_graph()?.linearised()?;
    // Heads of parts that learn from losses of their own come behind the perceptron's parameters.
    let params = network.model().store().iter().take(graph.ids().count());
    let weights = params.map(copy).collect::<Result<Vec<_>>>()?;
    let flow = Network::with_params(gpu, graph, weights)?;

    let mut rec = Recorder::new(gpu);
    // Padding of the features is no input.
    let mut ones = vec![1.0; flow.input().len()];
    let width = flow.input().shape()[1];
    ones.chunks_exact_mut(width).for_each(|row| row[network.features()..].fill(0.0));
    gpu.write(flow.input(), &ones)?;
    flow.forward(&mut rec, None)?;
    ops::fill(&mut rec, flow.logits_grad(), 1.0f32.to_bits())?;
    flow.backward(&mut rec, None)?;
    gpu.run(&rec.finish()?)?;
    Ok(flow)
}
