//! SCL: sparse connectivity learning (Tang et al. 2022), by block.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::mutation::all_blocks;
use super::{Budget, LayerContext, Method, MutableTopology, Phase, Saved, Scope, keep_by};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::graph::{Graph, ParamId};
use crate::ops::{self, Connect, Order, SelectK, Share, ValueScore};
use crate::{Error, Result};

/// Initial value of connections.
const BEGIN: f32 = 0.5;
/// Step size of connections.
const RATE: f32 = 0.01;

/// Options of [`Scl`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SclOptions {
    /// Cost of a connection: a constant in its gradient.
    #[serde(alias = "penalty")]
    pub cost: f64,
    /// Scope of pruning when the pattern is settled.
    pub scope: Scope,
}

impl Default for SclOptions {
    fn default() -> Self {
        Self { cost: 0.1, scope: Scope::Global }
    }
}

/// Every block has a connection, a number that is trained with the weights, and is active while its connection is not negative.
/// The gradient of that step function is taken for 1. Every connection has a cost, so that layers find their own sparsity.
///
/// All blocks are stored while connections learn, for three quarters of the epochs. Then inactive blocks are dropped, and of the
/// active ones at most as many are kept as the run's sparsity allows. With the scope of a layer, a layer without an active
/// block keeps that of the largest connection.
#[derive(Debug, Default)]
pub struct Scl {
    options: SclOptions,
    layers: Vec<Layer>,
    settled: bool,
}

#[derive(Debug)]
struct Layer {
    param: ParamId,
    /// Ordinal of the layer among the matrices, by which checkpoints name its state.
    number: u32,
    /// Connection of each place, `f32[places]`.
    connections: Tensor,
    /// Set of the active blocks.
    active: Tensor,
}

impl From<SclOptions> for Scl {
    fn from(options: SclOptions) -> Self {
        Self { options, ..Self::default() }
    }
}

impl Scl {
    /// Activates the block of the largest connection, the first of equals, in each layer without an active block, by a connection
    /// of 0.
    fn empty_none(&self, gpu: &Gpu) -> Result<()> {
        for layer in &self.layers {
            let mut connections = gpu.read::<f32>(&layer.connections)?.wait()?;
            // `max_by` returns the last of equals, so connections are walked backwards.
            let largest = connections.iter_mut().rev().max_by(|a, b| a.total_cmp(b));
            if let Some(largest) = largest.filter(|largest| **largest < 0.0) {
                *largest = 0.0;
                gpu.write(&layer.connections, &connections)?;
            }
        }
        Ok(())
    }

    fn survey(&mut self, network: &dyn MutableTopology) -> Result<()> {
        let gpu = network.gpu();
        for (param, weight) in network.sparse_layers() {
            let places = weight.pattern().places();
            self.layers.push(Layer {
                param,
                number: network.model().store().get(param).stream(),
                connections: gpu.upload(Class::Values, "connections", &[places], &vec![BEGIN; places])?,
                active: all_blocks(gpu, places)?,
            });
        }
        Ok(())
    }
}

impl Method for Scl {
    fn accepts(&self, _graph: &Graph) -> Result<()> {
        expect_penalty(self.options.cost)
    }

    fn measures_gradients(&self) -> bool {
        true
    }

    fn has_phases(&self) -> bool {
        true
    }

    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn each_step(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        let Some(Layer { connections, active, .. }) = self.layers.iter().find(|own| own.param == layer.param)
        else {
            return Ok(());
        };
        let (pattern, scores) = (layer.weight.pattern(), layer.scores());
        // CONTRACT: the loss is a function of step(connection) * w. So the gradient of a connection is the sum of w * dw over its
        // block, inactive or not, and inactive weights have a gradient of 0.
        ops::score_values(rec, layer.weight, Some(layer.grad), scores, ValueScore::SignedTimes)?;
        ops::zero_inactive_blocks(rec, pattern, layer.grad, active)?;
        let grid = [pattern.row_blocks(), pattern.col_blocks()];
        let learning = Connect { rate: RATE, cost: self.options.cost as f32 };
        ops::score_connect(rec, scores, connections, grid, learning)?;
        // Negative connections take no part in the selection.
        let all = SelectK::Share(Share(1.0));
        ops::select(rec, connections, all, Order::Largest, active)?;
        layer.activate_only(rec, active)
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        match phase {
            Phase::Start { .. } => self.survey(network),
            Phase::EpochEnd { epoch, epochs, .. } if !self.settled && 4 * (epoch + 1) >= 3 * epochs => {
                let budget = Budget::new(self.options.scope, network.targets().iter().sum(), network);
                if self.options.scope == Scope::Layer {
                    self.empty_none(network.gpu())?;
                }
                let layers = std::mem::take(&mut self.layers);
                self.settled = true;
                keep_by(self, network, &budget, &|rec, _, (param, _), scores| {
                    match layers.iter().find(|layer| layer.param == param) {
                        // Negative connections take no part in the selection.
                        Some(layer) => ops::blend(rec, &layer.connections, scores, [1.0, 0.0]),
                        None => Ok(()),
                    }
                })
            }
            _ => Ok(()),
        }
    }

    fn tensors(&self) -> Vec<(String, Saved)> {
        let of = |layer: &Layer| {
            let places = layer.connections.len();
            [
                (format!("connections.{}", layer.number), Saved::Numbers(layer.connections.clone())),
                (format!("awake.{}", layer.number), Saved::Set { words: layer.active.clone(), places }),
            ]
        };
        self.layers.iter().flat_map(of).collect()
    }

    fn memory(&self) -> Value {
        json!({ "settled": self.settled })
    }

    fn recall(&mut self, memory: &Value, network: &mut dyn MutableTopology) -> Result<()> {
        self.settled = memory["settled"].as_bool().ok_or_else(|| Error::Config {
            option: "method",
            reason: format!("scl has no `settled` in its state on the host, {memory}"),
        })?;
        if self.settled { Ok(()) } else { self.survey(network) }
    }
}

/// Refuses a penalty that is negative or not finite.
pub(super) fn expect_penalty(penalty: f64) -> Result<()> {
    if penalty.is_finite() && penalty >= 0.0 {
        return Ok(());
    }
    Err(Error::Config { option: "penalty", reason: format!("{penalty} is not a number from 0 up") })
}
