//! Top-KAST (Jayakumar et al. 2020).

use serde::{Deserialize, Serialize};

use super::scl::expect_penalty;
use super::{LayerContext, Method, MutableTopology, Phase, Saved, Updates};
use crate::gpu::{Class, DType, Recorder, Tensor};
use crate::graph::{Graph, ParamId, ParamSize};
use crate::ops::{self, BlockInit, Order, SelectK, ValueScore};
use crate::{Error, Result};

/// Options of [`TopKast`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopKastOptions {
    /// Schedule of the updates.
    pub updates: Updates,
    /// Sparsity of the stored blocks, which receive gradients. `None` stores twice as many blocks as are active.
    pub backward_sparsity: Option<f64>,
    /// Decoupled decay of the active blocks; that of inactive ones is divided by the density.
    pub penalty: f64,
}

impl Default for TopKastOptions {
    fn default() -> Self {
        Self { updates: Updates::RIGL, backward_sparsity: None, penalty: 0.0 }
    }
}

/// Two nested patterns per layer: the blocks with the largest sum of |w| are active, and a larger set of stored blocks receives
/// gradients. Inactive blocks may grow until they are among the largest.
///
/// The paper selects the larger set from all weights, which are stored dense. Here at most the larger set is ever stored: an update
/// exchanges the schedule's share of the *inactive* blocks, those with the smallest sum of |w|, for random ones from 0, and no
/// more of them than there are free places. So where no block is inactive there is no update, and the run is static training, bit
/// for bit, from weights drawn for all inputs. The decay is 0 by default.
#[derive(Debug, Default)]
pub struct TopKast {
    options: TopKastOptions,
    layers: Vec<Layer>,
}

/// State of a layer.
#[derive(Debug)]
struct Layer {
    param: ParamId,
    /// Ordinal of the layer among the matrices, by which checkpoints name its state.
    number: u32,
    /// Places of its grid.
    places: usize,
    /// Active blocks as a share of the places.
    density: f64,
    /// Number of inactive blocks.
    inactive: usize,
    /// Number of active blocks, `u32[1]`.
    active_count: Tensor,
    /// Set of the active blocks.
    active: Tensor,
}

impl From<TopKastOptions> for TopKast {
    fn from(options: TopKastOptions) -> Self {
        Self { options, ..Self::default() }
    }
}

impl TopKast {
    fn state(&self, layer: &LayerContext<'_>) -> Option<&Layer> {
        self.layers.iter().find(|own| own.param == layer.param)
    }

    fn survey(&mut self, network: &dyn MutableTopology) -> Result<()> {
        let gpu = network.gpu();
        self.layers.clear();
        for (param, weight) in network.sparse_layers() {
            let (pattern, target) = (weight.pattern(), network.targets()[param.index()]);
            self.layers.push(Layer {
                param,
                number: network.model().store().get(param).stream(),
                places: pattern.places(),
                density: target as f64 / pattern.places() as f64,
                inactive: pattern.nnz().saturating_sub(target),
                active_count: gpu.upload(Class::Scratch, "active blocks", &[1], &[target as u32])?,
                active: gpu.zeros::<u32>(Class::Topology, "active", &[pattern.places().div_ceil(32)])?,
            });
        }
        Ok(())
    }
}

impl Method for TopKast {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.options.updates)
    }

    fn keeps_sizes(&self) -> bool {
        true
    }

    fn buffers(&self, sizes: &[ParamSize]) -> Vec<(Class, &'static str, u128, u64)> {
        let blocks = sizes.iter().filter_map(|size| size.blocks);
        blocks.map(|blocks| (Class::Topology, "active", blocks.places.div_ceil(32), 4)).collect()
    }

    fn accepts(&self, graph: &Graph) -> Result<()> {
        let TopKastOptions { backward_sparsity, penalty, .. } = self.options;
        if let Some(sparsity) = backward_sparsity.filter(|sparsity| !(0.0..1.0).contains(sparsity)) {
            let reason = format!("{sparsity} is not in [0, 1)");
            return Err(Error::Config { option: "backward-sparsity", reason });
        }
        expect_penalty(penalty)?;
        if graph.precision().half().is_some() && penalty > 0.0 {
            let reason =
                "the decay of top-kast precedes the decision whether a step in f16 counts; leave it at 0";
            return Err(Error::Config { option: "penalty", reason: reason.to_owned() });
        }
        Ok(())
    }

    fn stored_sparsity(&self, sparsity: f64) -> f64 {
        let twice = || (1.0 - 2.0 * (1.0 - sparsity)).max(0.0);
        self.options.backward_sparsity.unwrap_or_else(twice).min(sparsity)
    }

    fn k(&self, stored: usize, active: usize, share: f64) -> usize {
        let (inactive, least) = (stored - active, usize::from(share > 0.0));
        ((inactive as f64 * share) as usize).max(least).min(inactive)
    }

    fn each_step(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        let Some(state) = self.state(layer) else { return Ok(()) };
        let penalty = self.options.penalty as f32;
        if penalty == 0.0 {
            return Ok(());
        }
        let rates = [penalty, penalty / state.density as f32];
        let pattern = layer.weight.pattern();
        ops::decay_blocks(rec, pattern, layer.weight.values(), &state.active, rates, layer.step)
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        let Some(state) = self.state(layer).filter(|state| state.inactive > 0) else { return Ok(()) };
        let (scores, active) = (layer.scores(), &state.active);
        layer.score_stored(rec, ValueScore::Abs)?;
        ops::select(rec, scores, SelectK::Count(&state.active_count), Order::Largest, active)?;
        // Growth is selected first, for there may be fewer free places than `k`. Stored blocks are excluded: an inactive one that is
        // dropped for its small weights must not come back in the same update.
        layer.score_randomly(rec)?;
        ops::score_exclude_stored(rec, layer.weight.pattern(), None, scores)?;
        let k = SelectK::Count(layer.workspace.wanted());
        ops::select(rec, scores, k, Order::Largest, layer.grown())?;
        let grown = layer.word(rec)?;
        ops::bits::count(rec, layer.grown(), &grown, false)?;
        // For each block that grows the smallest inactive one is dropped.
        layer.score_stored(rec, ValueScore::Abs)?;
        ops::score_exclude(rec, active, scores)?;
        ops::select(rec, scores, SelectK::Count(&grown), Order::Smallest, layer.dropped())?;
        layer.swap(rec, BlockInit::Zero, Some(active))
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        let Phase::Start { .. } = phase else { return Ok(()) };
        self.survey(network)?;
        let gpu = network.gpu().clone();
        let mut rec = Recorder::new(&gpu);
        for ((_, weight), state) in network.sparse_layers().into_iter().zip(&self.layers) {
            let pattern = weight.pattern();
            let scores = gpu.alloc::<f32>(Class::Scratch, "scores", &[pattern.places()])?;
            ops::fill(&mut rec, &scores, ops::NO_PART.to_bits())?;
            ops::score_values(&mut rec, &weight, None, &scores, ValueScore::Abs)?;
            let k = SelectK::Count(&state.active_count);
            ops::select(&mut rec, &scores, k, Order::Largest, &state.active)?;
            let map = scores.reinterpret(DType::U32)?;
            ops::index_pattern(&mut rec, pattern, &map, Some(&state.active))?;
        }
        gpu.run(&rec.finish()?)?;
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Saved)> {
        let active = |layer: &Layer| Saved::Set { words: layer.active.clone(), places: layer.places };
        self.layers.iter().map(|layer| (format!("awake.{}", layer.number), active(layer))).collect()
    }

    fn recall(&mut self, _memory: &serde_json::Value, network: &mut dyn MutableTopology) -> Result<()> {
        self.survey(network)
    }
}
