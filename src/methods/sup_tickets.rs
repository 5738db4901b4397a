//! Sup-tickets: superposing many tickets into one (Yin et al. 2022).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::mutation::choose;
use super::{Budget, Clock, LayerContext, Method, MutableTopology, Phase, Saved, Scope, Updates, rigl};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::graph::{ParamId, ParamSize};
use crate::ops::{self, RemapSource, SetOp, ValueScore};
use crate::sparse::{BlockMatrix, Pattern};
use crate::{Error, Result};

/// Most tickets.
const TICKETS: u64 = 3;
/// Share of the blocks that is exchanged before a ticket is trained.
const LEAP: f64 = 0.5;
/// Learning rates of a cycle, as shares of the full rate: up from the first to the second and down again.
const RATES: [f64; 2] = [0.05, 0.25];

/// Options of [`SupTickets`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SupTicketsOptions {
    /// Schedule of the updates before the cycles.
    pub updates: Updates,
    /// Rows that score growth; see [`Method::score_rows`].
    pub score_rows: Option<usize>,
    /// Scope in which the average is pruned.
    pub scope: Scope,
}

impl Default for SupTicketsOptions {
    fn default() -> Self {
        Self { updates: Updates::RIGL, score_rows: None, scope: Scope::Global }
    }
}

/// RigL for most of the run, and then a few cycles. Each cycle exchanges half of the blocks at once, trains a *ticket* with a
/// learning rate that rises and falls, and adds it to a running average. The average has the blocks of all tickets, and is pruned
/// by the sum of |w| after each. The network of the end is the average.
///
/// A cycle is an epoch, or a thirtieth of the run if that is longer; there are at most three, in at most half of the run.
#[derive(Debug, Default)]
pub struct SupTickets {
    options: SupTicketsOptions,
    /// Tickets in the average.
    tickets: u64,
    /// Average of every parameter, in the order of the store.
    average: Vec<Named>,
}

/// Average of a parameter.
#[derive(Debug)]
struct Named {
    /// Name in checkpoints: that of the parameter. In checkpoints of older versions it is the parameter's index.
    name: String,
    average: Average,
}

#[derive(Debug, Clone)]
enum Average {
    Dense(Tensor),
    /// Has a pattern of its own.
    Sparse(BlockMatrix),
}

impl Average {
    /// Number of blocks, of a sparse one.
    fn blocks(&self) -> Option<usize> {
        match self {
            Self::Dense(_) => None,
            Self::Sparse(matrix) => Some(matrix.pattern().nnz()),
        }
    }
}

impl From<SupTicketsOptions> for SupTickets {
    fn from(options: SupTicketsOptions) -> Self {
        Self { options, ..Self::default() }
    }
}

/// Epochs of RigL, and of a cycle.
fn phases(epochs: u64) -> [u64; 2] {
    let cycle = (epochs / 30).max(1);
    let cycles = TICKETS.min(epochs / 2 / cycle);
    [epochs - cycles * cycle, cycle]
}

/// Done share of the cycle at hand, in `[0, 1)`; `None` before the first.
fn in_cycle(clock: Clock) -> Option<f64> {
    let [first, length] =
        phases(clock.steps.div_ceil(clock.per_epoch)).map(|epochs| epochs * clock.per_epoch);
    let step = clock.step.checked_sub(first)?;
    Some((step % length) as f64 / length as f64)
}

impl SupTickets {
    /// Adds the network at hand to the average, and prunes the average.
    fn add(&mut self, network: &dyn MutableTopology) -> Result<()> {
        let gpu = network.gpu();
        let share = 1.0 / (self.tickets + 1) as f32;
        let mut average = Vec::new();
        for (at, param) in network.model().store().iter().enumerate() {
            let before = self.average.get(at).map(|before| &before.average);
            let name = param.name().to_owned();
            let sum = match (param.weight().sparse(), before) {
                (Some(weight), Some(Average::Sparse(before))) => {
                    Average::Sparse(superpose(gpu, before, weight, share)?)
                }
                // The average of one ticket is the ticket.
                (Some(weight), _) => Average::Sparse(superpose(gpu, weight, weight, 1.0)?),
                (None, Some(Average::Dense(before))) => {
                    Average::Dense(blended(gpu, param.values(), before, share)?)
                }
                (None, _) => Average::Dense(blended(gpu, param.values(), param.values(), 1.0)?),
            };
            average.push(Named { name, average: sum });
        }
        self.average = average;
        self.tickets += 1;
        self.prune(network)
    }

    /// Prunes the average to the number of blocks that the run's sparsity allows, those with the largest sum of |w|.
    fn prune(&mut self, network: &dyn MutableTopology) -> Result<()> {
        let gpu = network.gpu();
        let budget = match self.options.scope {
            Scope::Global => Budget::Global(network.targets().iter().sum()),
            Scope::Layer => Budget::PerLayer(network.targets().to_vec()),
        };
        let averages = network.model().store().iter().zip(&self.average);
        let sparse: Vec<(ParamId, BlockMatrix)> = averages
            .filter_map(|(param, named)| match &named.average {
                Average::Sparse(matrix) => Some((param.id(), matrix.clone())),
                Average::Dense(_) => None,
            })
            .collect();
        let chosen = choose(gpu, &sparse, &budget, true, &|rec, (_, matrix), scores| {
            ops::score_values(rec, matrix, None, scores, ValueScore::Abs)
        })?;
        for ((param, matrix), (set, nnz)) in sparse.iter().zip(chosen) {
            budget.expect_blocks(&self.name(), network, *param, nnz)?;
            let pattern = matrix.pattern().sized_like(gpu, nnz)?;
            self.average[param.index()].average =
                Average::Sparse(brought_to(gpu, &pattern, &set, matrix, None)?);
        }
        Ok(())
    }

    /// Makes the average the network.
    fn install(&self, network: &mut dyn MutableTopology) -> Result<()> {
        let gpu = network.gpu().clone();
        let ids: Vec<ParamId> = network.model().graph().ids().collect();
        for (id, named) in ids.into_iter().zip(&self.average) {
            let values = match &named.average {
                Average::Sparse(matrix) => {
                    let set = members(&gpu, matrix.pattern())?;
                    network.reshape(id, &set, matrix.pattern().nnz())?;
                    // Slots of a reshaped layer and of the average are both in the order of the grid.
                    matrix.values()
                }
                Average::Dense(values) => values,
            };
            let mut rec = Recorder::new(&gpu);
            ops::blend(&mut rec, values, network.model().store().get(id).values(), [1.0, 0.0])?;
            gpu.run(&rec.finish()?)?;
        }
        Ok(())
    }
}

/// `share * x + (1 - share) * before`, elsewhere.
fn blended(gpu: &Gpu, x: &Tensor, before: &Tensor, share: f32) -> Result<Tensor> {
    let out = gpu.alloc::<f32>(Class::Values, "average", x.shape())?;
    let mut rec = Recorder::new(gpu);
    ops::blend(&mut rec, before, &out, [1.0, 0.0])?;
    ops::blend(&mut rec, x, &out, [share, 1.0 - share])?;
    gpu.run(&rec.finish()?)?;
    Ok(out)
}

/// The set of a pattern's blocks.
fn members(gpu: &Gpu, pattern: &Pattern) -> Result<Tensor> {
    let set = gpu.alloc::<u32>(Class::Scratch, "set of blocks", &[pattern.places().div_ceil(32)])?;
    let mut rec = Recorder::new(gpu);
    ops::bits::present(&mut rec, pattern, &set)?;
    gpu.run(&rec.finish()?)?;
    Ok(set)
}

/// `share * weight + (1 - share) * before` on the union of both patterns.
fn superpose(gpu: &Gpu, before: &BlockMatrix, weight: &BlockMatrix, share: f32) -> Result<BlockMatrix> {
    let (a, b) = (members(gpu, before.pattern())?, members(gpu, weight.pattern())?);
    let union = gpu.alloc::<u32>(Class::Scratch, "union", a.shape())?;
    let count = gpu.alloc::<u32>(Class::Scratch, "count", &[1])?;
    let mut rec = Recorder::new(gpu);
    ops::bits::combine(&mut rec, &a, &b, SetOp::Or, &union)?;
    ops::bits::count(&mut rec, &union, &count, false)?;
    gpu.run(&rec.finish()?)?;
    let nnz = gpu.read::<u32>(&count)?.wait()?[0] as usize;
    let pattern = weight.pattern().sized_like(gpu, nnz)?;
    brought_to(gpu, &pattern, &union, before, Some((weight, [1.0 - share, share])))
}

/// A matrix on the blocks of a set, or the weighted sum of two.
fn brought_to(
    gpu: &Gpu,
    pattern: &Pattern,
    set: &Tensor,
    a: &BlockMatrix,
    b: Option<(&BlockMatrix, [f32; 2])>,
) -> Result<BlockMatrix> {
    let out = BlockMatrix::alloc(gpu, Class::Values, "average", pattern)?;
    let map = || gpu.alloc::<u32>(Class::Scratch, "map", &[pattern.places()]);
    let (map_out, map_a, map_b) = (map()?, map()?, map()?);
    let mut rec = Recorder::new(gpu);
    ops::fill_pattern(&mut rec, pattern, set, &map_out)?;
    ops::map_pattern(&mut rec, a.pattern(), &map_a)?;
    let second = match b {
        Some((b, weights)) => {
            ops::map_pattern(&mut rec, b.pattern(), &map_b)?;
            Some((RemapSource { values: b.values(), map: &map_b }, weights))
        }
        None => None,
    };
    ops::remap_blocks(&mut rec, RemapSource { values: a.values(), map: &map_a }, second, &out)?;
    gpu.run(&rec.finish()?)?;
    Ok(out)
}

impl Method for SupTickets {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.options.updates)
    }

    fn score_rows(&self) -> Option<usize> {
        self.options.score_rows
    }

    fn measures_gradients(&self) -> bool {
        true
    }

    fn has_phases(&self) -> bool {
        true
    }

    fn buffers(&self, sizes: &[ParamSize]) -> Vec<(Class, &'static str, u128, u64)> {
        // The average of the tickets has as many blocks as the network.
        let values = sizes.iter().map(|size| (Class::Values, "average", size.elements, 4));
        let blocks = sizes.iter().filter_map(|size| size.blocks);
        let topologies = blocks.map(|blocks| (Class::Topology, "average", blocks.words, 4));
        values.chain(topologies).collect()
    }

    fn share(&self, clock: Clock) -> Option<f64> {
        match in_cycle(clock) {
            None => self.options.updates.at(clock),
            Some(0.0) => Some(LEAP),
            Some(_) => None,
        }
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        rigl::exchange(rec, layer)
    }

    fn learning_rate(&self, rate: f32, clock: Clock) -> f32 {
        let Some(done) = in_cycle(clock) else { return rate };
        let up = 1.0 - (2.0 * done - 1.0).abs();
        (clock.learning_rate * (RATES[0] + (RATES[1] - RATES[0]) * up)) as f32
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        let Phase::EpochEnd { epoch, epochs, .. } = phase else { return Ok(()) };
        let [first, length] = phases(epochs);
        let done = epoch + 1;
        if done > first && (done - first).is_multiple_of(length) {
            self.add(network)?;
            if done == epochs {
                self.install(network)?;
            }
        }
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Saved)> {
        let saved = |Named { name, average }: &Named| match average {
            Average::Dense(values) => vec![(format!("average.{name}"), Saved::Numbers(values.clone()))],
            Average::Sparse(matrix) => vec![
                (format!("average.{name}"), Saved::Numbers(matrix.values().clone())),
                (format!("average.{name}.pattern"), Saved::Pattern(matrix.pattern().clone())),
            ],
        };
        self.average.iter().flat_map(saved).collect()
    }

    fn memory(&self) -> Value {
        let blocks: BTreeMap<&str, Option<usize>> =
            self.average.iter().map(|named| (named.name.as_str(), named.average.blocks())).collect();
        json!({ "tickets": self.tickets, "blocks": blocks })
    }

    fn recall(&mut self, memory: &Value, network: &mut dyn MutableTopology) -> Result<()> {
        let refused =
            |reason: String| Error::Config { option: "method", reason: format!("sup-tickets: {reason}") };
        let bad = |error: serde_json::Error| refused(error.to_string());
        self.tickets = serde_json::from_value(memory["tickets"].clone()).map_err(bad)?;
        // Older versions have a list by the parameters' indices.
        let blocks: BTreeMap<String, Option<usize>> = match &memory["blocks"] {
            Value::Array(list) => {
                let blocks = list.iter().enumerate().map(|(at, blocks)| {
                    Ok((at.to_string(), serde_json::from_value(blocks.clone()).map_err(bad)?))
                });
                blocks.collect::<Result<_>>()?
            }
            blocks => serde_json::from_value(blocks.clone()).map_err(bad)?,
        };
        let by_index = memory["blocks"].is_array();
        let gpu = network.gpu();
        let parameters = network.model().parameters();
        if self.tickets > TICKETS || blocks.len() != if self.tickets > 0 { parameters.len() } else { 0 } {
            return Err(refused(format!(
                "its state has {} tickets and averages of {} parameters; after the first of at most {TICKETS} tickets there \
                 are averages of all {} parameters",
                self.tickets,
                blocks.len(),
                parameters.len()
            )));
        }
        if self.tickets == 0 {
            return Ok(());
        }
        for (at, parameter) in parameters.iter().enumerate() {
            let name = if by_index { at.to_string() } else { parameter.name().to_owned() };
            let Some(&blocks) = blocks.get(&name) else {
                return Err(refused(format!("its state has no average of {name}")));
            };
            let weight = parameter.weight().sparse();
            let average = match (blocks, weight) {
                (Some(nnz), Some(weight)) if (1..=weight.pattern().places()).contains(&nnz) => {
                    let pattern = weight.pattern().sized_like(gpu, nnz)?;
                    Average::Sparse(BlockMatrix::alloc(gpu, Class::Values, "average", &pattern)?)
                }
                (None, None) => {
                    Average::Dense(gpu.zeros::<f32>(Class::Values, "average", parameter.values().shape())?)
                }
                (found, weight) => {
                    let found = found.map_or("no blocks".to_owned(), |nnz| format!("{nnz} blocks"));
                    let wanted = weight.map_or("is not sparse".to_owned(), |weight| {
                        format!("may have 1 to {}", weight.pattern().places())
                    });
                    let reason = format!("its state has {found} of {}, which {wanted}", parameter.name());
                    return Err(refused(reason));
                }
            };
            self.average.push(Named { name, average });
        }
        Ok(())
    }
}
