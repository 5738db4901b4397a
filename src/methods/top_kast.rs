//! Top-KAST (Jayakumar et al. 2020).

use super::{Method, Moment, Saved, Site, Surgery};
use crate::Result;
use crate::gpu::{Class, Recorder, Tensor};
use crate::graph::ParamId;
use crate::ops::{self, BlockInit, Order, SelectK, ValueScore};

/// Two nested patterns per layer: the blocks of the largest magnitude have a part in the network, and a larger set of
/// stored blocks receives gradients. What rests can wake when it has grown.
///
/// The paper takes the larger set anew from all weights, which need a dense store. Here at most the larger set is
/// stored, ever: an update exchanges the schedule's share of the *resting* blocks, those of the smallest magnitude, for
/// random ones from 0, and no more of them than there are free places. So where no block rests there is no update, and it is
/// static training, bit for bit, from weights that are drawn for all inputs. The decay is 0 unless it is asked for.
#[derive(Debug)]
pub struct TopKast {
    /// The sparsity of what is stored.
    pub backward_sparsity: f64,
    /// Decoupled decay of the present blocks; that of the resting ones is divided by the density.
    pub penalty: f32,
    layers: Vec<Layer>,
}

/// What it knows of a layer.
#[derive(Debug)]
struct Layer {
    param: ParamId,
    /// Ordinal of the layer among the matrices, by which checkpoints name its state.
    number: u32,
    /// Places of its grid.
    places: usize,
    /// Blocks present, of blocks in the grid.
    density: f64,
    /// Blocks that rest.
    resting: usize,
    /// How many blocks are present: a word.
    present: Tensor,
    /// Which.
    awake: Tensor,
}

impl TopKast {
    /// For a network that is yet to be seen.
    pub fn new(backward_sparsity: f64, penalty: f32) -> Self {
        Self { backward_sparsity, penalty, layers: Vec::new() }
    }

    fn layer(&self, site: &Site<'_>) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.param == site.param)
    }

    fn survey(&mut self, network: &dyn Surgery) -> Result<()> {
        let gpu = network.gpu();
        self.layers.clear();
        for (param, weight) in network.sparse_layers() {
            let (pattern, target) = (weight.pattern(), network.targets()[param.index()]);
            self.layers.push(Layer {
                param,
                number: network.model().store().get(param).stream(),
                places: pattern.places(),
                density: target as f64 / pattern.places() as f64,
                resting: pattern.nnz().saturating_sub(target),
                present: gpu.upload(Class::Scratch, "present", &[1], &[target as u32])?,
                awake: gpu.zeros::<u32>(Class::Topology, "awake", &[pattern.places().div_ceil(32)])?,
            });
        }
        Ok(())
    }
}

impl Method for TopKast {
    fn stored_sparsity(&self, sparsity: f64) -> f64 {
        self.backward_sparsity.min(sparsity)
    }

    fn quota(&self, stored: usize, present: usize, share: f64) -> usize {
        let (resting, least) = (stored - present, usize::from(share > 0.0));
        ((resting as f64 * share) as usize).max(least).min(resting)
    }

    fn each_step(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        let Some(layer) = self.layer(site) else { return Ok(()) };
        if self.penalty == 0.0 {
            return Ok(());
        }
        let rates = [self.penalty, self.penalty / layer.density as f32];
        let pattern = site.weight.pattern();
        ops::decay_blocks(rec, pattern, site.weight.values(), &layer.awake, rates, site.step)
    }

    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Result<()> {
        let Some(layer) = self.layer(site).filter(|layer| layer.resting > 0) else { return Ok(()) };
        // The largest are present.
        site.score_stored(rec, ValueScore::Abs)?;
        ops::select(rec, site.scores(), SelectK::Count(&layer.present), Order::Largest, &layer.awake)?;
        // Growth first, for there may be fewer free places than the schedule wants. No block that is stored competes: it would
        // come back, though it was dropped for being small.
        site.score_randomly(rec)?;
        ops::score_exclude_stored(rec, site.weight.pattern(), None, site.scores())?;
        let wanted = SelectK::Count(site.workspace.wanted());
        ops::select(rec, site.scores(), wanted, Order::Largest, site.grown())?;
        let grown = site.word(rec)?;
        ops::bits::count(rec, site.grown(), &grown, false)?;
        // Inactive blocks of the smallest magnitude are dropped, one for each that grows.
        site.score_stored(rec, ValueScore::Abs)?;
        ops::score_exclude(rec, &layer.awake, site.scores())?;
        ops::select(rec, site.scores(), SelectK::Count(&grown), Order::Smallest, site.dropped())?;
        site.swap(rec, BlockInit::Zero, Some(&layer.awake))
    }

    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        let Moment::Start { .. } = moment else { return Ok(()) };
        self.survey(network)?;
        let gpu = network.gpu().clone();
        let mut rec = Recorder::new(&gpu);
        for ((_, weight), layer) in network.sparse_layers().into_iter().zip(&self.layers) {
            let pattern = weight.pattern();
            let scores = gpu.alloc::<f32>(Class::Scratch, "scores", &[pattern.places()])?;
            ops::fill(&mut rec, &scores, ops::NO_PART.to_bits())?;
            ops::score_values(&mut rec, &weight, None, &scores, ValueScore::Abs)?;
            let quota = SelectK::Count(&layer.present);
            ops::select(&mut rec, &scores, quota, Order::Largest, &layer.awake)?;
            let map = scores.reinterpret(crate::gpu::DType::U32)?;
            ops::index_pattern(&mut rec, pattern, &map, Some(&layer.awake))?;
        }
        gpu.run(&rec.finish()?)?;
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Saved)> {
        let awake = |layer: &Layer| Saved::Set { words: layer.awake.clone(), places: layer.places };
        self.layers.iter().map(|layer| (format!("awake.{}", layer.number), awake(layer))).collect()
    }

    fn recall(&mut self, _memory: &serde_json::Value, network: &mut dyn Surgery) -> Result<()> {
        self.survey(network)
    }
}
