//! SCL: sparse connectivity learning (Tang et al. 2022), by block.

use serde_json::{Value, json};

use super::surgery::{all_blocks, keep_by};
use super::{Budget, Method, Moment, Saved, Scope, Site, Surgery};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::graph::ParamId;
use crate::ops::{self, Connect, Order, SelectK, Share, ValueScore};
use crate::{Error, Result};

/// Where connections begin.
const BEGIN: f32 = 0.5;
/// Their step size.
const RATE: f32 = 0.01;

/// Every block has a connection that is trained with the weights, and stands while its connection is not negative. The step
/// function's gradient is taken for 1. Every connection costs; no layer's sparsity is set by hand.
///
/// All blocks are stored while connections learn: for three quarters of the epochs. Then the blocks that do not stand are
/// let go, and of those that do, no more are kept than the run's sparsity allows. Where layers do not compete, one in which no
/// block stands keeps that of the largest connection.
#[derive(Debug)]
pub struct Scl {
    /// What a connection costs.
    pub cost: f32,
    /// Whose blocks compete when the pattern is settled.
    pub scope: Scope,
    layers: Vec<Layer>,
    settled: bool,
}

#[derive(Debug)]
struct Layer {
    param: ParamId,
    /// Ordinal of the layer among the matrices, by which checkpoints name its state.
    number: u32,
    connections: Tensor,
    awake: Tensor,
}

impl Scl {
    /// With connections that cost so much.
    pub fn new(cost: f32, scope: Scope) -> Self {
        Self { cost, scope, layers: Vec::new(), settled: false }
    }

    /// Keeps the block of the largest connection, the first of equals, standing in each layer where none is: a connection of 0
    /// stands.
    fn empty_none(&self, gpu: &Gpu) -> Result<()> {
        for layer in &self.layers {
            let mut connections = gpu.read::<f32>(&layer.connections)?.wait()?;
            // Of equals the last is the maximum, so they are walked backwards.
            let largest = connections.iter_mut().rev().max_by(|a, b| a.total_cmp(b));
            if let Some(largest) = largest.filter(|largest| **largest < 0.0) {
                *largest = 0.0;
                gpu.write(&layer.connections, &connections)?;
            }
        }
        Ok(())
    }

    fn survey(&mut self, network: &dyn Surgery) -> Result<()> {
        let gpu = network.gpu();
        for (param, weight) in network.sparse_layers() {
            let places = weight.pattern().places();
            self.layers.push(Layer {
                param,
                number: network.model().store().get(param).stream(),
                connections: gpu.upload(Class::Values, "connections", &[places], &vec![BEGIN; places])?,
                awake: all_blocks(gpu, places)?,
            });
        }
        Ok(())
    }
}

impl Method for Scl {
    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn each_step(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        let Some(layer) = self.layers.iter().find(|layer| layer.param == site.param) else { return Ok(()) };
        let pattern = site.weight.pattern();
        // CONTRACT: the loss is a function of step(connection) * w. So the gradient of a connection is the sum of w * g over
        // its block, also where it does not stand, and that of w is g where it stands and 0 where it does not.
        ops::score_values(rec, site.weight, Some(site.grad), site.scores(), ValueScore::SignedTimes)?;
        ops::zero_inactive_blocks(rec, pattern, site.grad, &layer.awake)?;
        let grid = [pattern.row_blocks(), pattern.col_blocks()];
        let learning = Connect { rate: RATE, cost: self.cost };
        ops::score_connect(rec, site.scores(), &layer.connections, grid, learning)?;
        // Those that are not negative.
        let all = SelectK::Share(Share(1.0));
        ops::select(rec, &layer.connections, all, Order::Largest, &layer.awake)?;
        site.wake_only(rec, &layer.awake)
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        match moment {
            Moment::Start { .. } => self.survey(network),
            Moment::EpochEnd { epoch, epochs, .. } if !self.settled && 4 * (epoch + 1) >= 3 * epochs => {
                let budget = Budget::new(self.scope, network.targets().iter().sum(), network);
                if self.scope == Scope::Layer {
                    self.empty_none(network.gpu())?;
                }
                let layers = std::mem::take(&mut self.layers);
                self.settled = true;
                keep_by(network, &budget, &|rec, _, (param, _), scores| {
                    match layers.iter().find(|layer| layer.param == param) {
                        // Negative ones take no part as they are.
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
                (format!("awake.{}", layer.number), Saved::Set { words: layer.awake.clone(), places }),
            ]
        };
        self.layers.iter().flat_map(of).collect()
    }

    fn memory(&self) -> Value {
        json!({ "settled": self.settled })
    }

    fn recall(&mut self, memory: &Value, network: &mut dyn Surgery) -> Result<()> {
        self.settled = memory["settled"].as_bool().ok_or_else(|| Error::Config {
            option: "method",
            reason: format!("scl does not recognise its memory {memory}"),
        })?;
        if self.settled { Ok(()) } else { self.survey(network) }
    }
}
