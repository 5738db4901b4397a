//! Sup-tickets: superposing many tickets into one (Yin et al. 2022).

use serde_json::{Value, json};

use super::surgery::choose;
use super::{Budget, Clock, Method, Moment, Rigl, Saved, Scope, Site, Surgery, Updates};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::graph::ParamId;
use crate::ops::{self, RemapSource, SetOp, ValueScore};
use crate::sparse::{BlockMatrix, Pattern};
use crate::{Error, Result};

/// Tickets at most.
const TICKETS: u64 = 3;
/// The share of blocks that is exchanged before a ticket is trained.
const LEAP: f64 = 0.5;
/// The learning rate of a cycle, as shares of the schedule's full rate: up from the first to the second and down again.
const RATES: [f64; 2] = [0.05, 0.25];

/// RigL for most of the run. Then a few cycles, each of which exchanges half of the blocks at once, trains a *ticket* with a
/// learning rate that rises and falls, and adds it to a running average; the average, which has the blocks of all of them, is
/// pruned back by magnitude. The network ends as the average.
///
/// A cycle is an epoch, or a thirtieth of the run if that is longer, and there are as many as three, in no more than half
/// of the run.
#[derive(Debug)]
pub struct SupTickets {
    /// The full learning rate.
    pub rate: f64,
    /// Whose blocks compete when the average is pruned.
    pub scope: Scope,
    /// How many tickets are in the average.
    tickets: u64,
    /// The average of every parameter; the weights of sparse layers have patterns of their own.
    average: Vec<Average>,
}

#[derive(Debug, Clone)]
enum Average {
    Dense(Tensor),
    Sparse(BlockMatrix),
}

/// Epochs of RigL, and of a cycle.
fn phases(epochs: u64) -> [u64; 2] {
    let cycle = (epochs / 30).max(1);
    let cycles = TICKETS.min(epochs / 2 / cycle);
    [epochs - cycles * cycle, cycle]
}

/// How far the run is in a cycle, in `[0, 1)`, if it is in one.
fn in_cycle(clock: Clock) -> Option<f64> {
    let [first, length] =
        phases(clock.steps.div_ceil(clock.per_epoch)).map(|epochs| epochs * clock.per_epoch);
    let step = clock.step.checked_sub(first)?;
    Some((step % length) as f64 / length as f64)
}

impl SupTickets {
    /// With no ticket yet.
    pub fn new(rate: f64, scope: Scope) -> Self {
        Self { rate, scope, tickets: 0, average: Vec::new() }
    }

    /// Adds the network as it is to the average, and prunes that.
    fn add(&mut self, network: &dyn Surgery) -> Result<()> {
        let gpu = network.gpu();
        let share = 1.0 / (self.tickets + 1) as f32;
        let mut average = Vec::new();
        for (at, param) in network.model().store().iter().enumerate() {
            average.push(match (param.weight().sparse(), self.average.get(at)) {
                (Some(weight), Some(Average::Sparse(before))) => {
                    Average::Sparse(superpose(gpu, before, weight, share)?)
                }
                // The first ticket is the average of itself.
                (Some(weight), _) => Average::Sparse(superpose(gpu, weight, weight, 1.0)?),
                (None, Some(Average::Dense(before))) => {
                    Average::Dense(blended(gpu, param.values(), before, share)?)
                }
                (None, _) => Average::Dense(blended(gpu, param.values(), param.values(), 1.0)?),
            });
        }
        self.average = average;
        self.tickets += 1;
        self.prune(network)
    }

    /// The average keeps as many blocks as the network may have, wherever its magnitudes are largest.
    fn prune(&mut self, network: &dyn Surgery) -> Result<()> {
        let gpu = network.gpu();
        let budget = match self.scope {
            Scope::Global => Budget::Global(network.targets().iter().sum()),
            Scope::Layer => Budget::PerLayer(network.targets().to_vec()),
        };
        let averages = network.model().store().iter().zip(&self.average);
        let sparse: Vec<(ParamId, BlockMatrix)> = averages
            .filter_map(|(param, average)| match average {
                Average::Sparse(matrix) => Some((param.id(), matrix.clone())),
                Average::Dense(_) => None,
            })
            .collect();
        let chosen = choose(gpu, &sparse, &budget, true, &|rec, (_, matrix), scores| {
            ops::score_values(rec, matrix, None, scores, ValueScore::Abs)
        })?;
        for ((param, matrix), (set, nnz)) in sparse.iter().zip(chosen) {
            if nnz == 0 {
                let layer = network.model().store().get(*param).layer();
                let reason =
                    format!("sup-tickets leaves {layer} with no block; with the scope layer none is emptied");
                return Err(Error::Config { option: "sparsity", reason });
            }
            let pattern = matrix.pattern().sized_like(gpu, nnz)?;
            self.average[param.index()] = Average::Sparse(brought_to(gpu, &pattern, &set, matrix, None)?);
        }
        Ok(())
    }

    /// The network becomes the average.
    fn install(&self, network: &mut dyn Surgery) -> Result<()> {
        let gpu = network.gpu().clone();
        for (id, average) in network.model().graph().ids().collect::<Vec<_>>().into_iter().zip(&self.average)
        {
            let values = match average {
                Average::Sparse(matrix) => {
                    let set = members(&gpu, matrix.pattern())?;
                    network.reshape(id, &set, matrix.pattern().nnz())?;
                    // A reshaped layer has its slots in the order of the grid, as the average has.
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
    fn share(&self, updates: &Updates, clock: Clock) -> Option<f64> {
        match in_cycle(clock) {
            None => updates.at(clock),
            Some(0.0) => Some(LEAP),
            Some(_) => None,
        }
    }

    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        Rigl.update(rec, site)
    }

    fn learning_rate(&self, rate: f32, clock: Clock) -> f32 {
        let Some(done) = in_cycle(clock) else { return rate };
        let up = 1.0 - (2.0 * done - 1.0).abs();
        (self.rate * (RATES[0] + (RATES[1] - RATES[0]) * up)) as f32
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        let Moment::EpochEnd { epoch, epochs, .. } = moment else { return Ok(()) };
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
        let of = |(at, average): (usize, &Average)| {
            let (values, pattern) = match average {
                Average::Dense(values) => (values, None),
                Average::Sparse(matrix) => (matrix.values(), Some(matrix.pattern())),
            };
            let values = (format!("average.{at}"), Saved::Numbers(values.clone()));
            let pattern =
                pattern.map(|pattern| (format!("average.{at}.pattern"), Saved::Pattern(pattern.clone())));
            std::iter::once(values).chain(pattern)
        };
        self.average.iter().enumerate().flat_map(of).collect()
    }

    fn memory(&self) -> Value {
        let blocks: Vec<Option<usize>> = self
            .average
            .iter()
            .map(|average| match average {
                Average::Dense(_) => None,
                Average::Sparse(matrix) => Some(matrix.pattern().nnz()),
            })
            .collect();
        json!({ "tickets": self.tickets, "blocks": blocks })
    }

    fn recall(&mut self, memory: &Value, network: &mut dyn Surgery) -> Result<()> {
        let bad = |error: serde_json::Error| Error::Config {
            option: "method",
            reason: format!("sup-tickets: {error}"),
        };
        let refused = |reason: String| Error::Config {
            option: "method",
            reason: format!("sup-tickets: its memory {reason}"),
        };
        self.tickets = serde_json::from_value(memory["tickets"].clone()).map_err(bad)?;
        let blocks: Vec<Option<usize>> = serde_json::from_value(memory["blocks"].clone()).map_err(bad)?;
        let gpu = network.gpu();
        let parameters = network.model().parameters();
        if self.tickets > TICKETS || blocks.len() != if self.tickets > 0 { parameters.len() } else { 0 } {
            let (tickets, averages) = (self.tickets, blocks.len());
            let reason = format!(
                "has {tickets} tickets and averages of {averages} parameters; of {} there are averages once there is one \
                 of {TICKETS} tickets",
                parameters.len()
            );
            return Err(refused(reason));
        }
        for (parameter, blocks) in parameters.iter().zip(blocks) {
            let weight = parameter.weight().sparse();
            self.average.push(match (blocks, weight) {
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
                    return Err(refused(format!("has {found} of {}, which {wanted}", parameter.name())));
                }
            });
        }
        Ok(())
    }
}
