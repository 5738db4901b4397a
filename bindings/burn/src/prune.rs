//! Gradual magnitude pruning of a Burn module.

use burn_core::module::{Module, ModuleMapper, Param, ParamId};
use burn_core::tensor::{Int, Tensor, TensorData};
use fretwork::sparse::Topology;

use crate::blocks::{Blocks, Known};
use crate::dense::{floats, largest};
use crate::evolve::Layer;
use crate::linear::{expect_density, stored};
use crate::{Error, Result};

/// Gradual magnitude pruning (Zhu & Gupta 2017): blocks of the smallest sum of absolute values are removed, until a share of the
/// places is left. `model = pruning.step(model)?` after each step of the optimizer.
///
/// From step `from` to step `until`, at every `every`th, the density falls from that of the layers to the final one by a cube:
/// fast at first, slowly at the end. Removed blocks never return.
#[derive(Debug)]
pub struct Pruning {
    density: f64,
    from: u64,
    until: u64,
    every: u64,
    step: u64,
    layers: Vec<Pruned>,
    /// The layers, and their numbers of blocks at the beginning.
    begun: Vec<(Layer, usize)>,
}

/// A layer that the last step pruned.
#[derive(Debug, Clone, PartialEq)]
pub struct Pruned {
    /// Parameter of the values before.
    pub before: ParamId,
    /// Parameter of the values now.
    pub values: ParamId,
    /// Slots of the blocks that are left, in their order before.
    pub kept: Vec<usize>,
}

impl Pruning {
    /// Prunes the sparse layers of a model to a density each, between two steps, at every `every`th.
    ///
    /// # Errors
    /// [`Error::Shape`] for a density out of (0, 1], and for steps that make no schedule.
    pub fn new(model: &impl Module, density: f64, from: u64, until: u64, every: u64) -> Result<Self> {
        expect_density(density)?;
        if from > until || every == 0 {
            let wanted = "from a step to a later one, at every one or more".to_owned();
            let found = format!("from {from} to {until} at every {every}");
            return Err(Error::Shape { what: "the steps", wanted, found });
        }
        let mut begun = Vec::new();
        for layer in Layer::all(model) {
            let nnz = layer.known.topology()?.nnz();
            begun.push((layer, nnz));
        }
        Ok(Self { density, from, until, every, step: 0, layers: Vec::new(), begun })
    }

    /// Counts a step, and prunes where it is due. Waits for the device then.
    ///
    /// # Errors
    /// [`Error::OtherModel`] for a model that is not the one of [`Pruning::new`] after training.
    pub fn step<M: Module>(&mut self, model: M) -> Result<M> {
        self.layers.clear();
        let step = self.step;
        self.step += 1;
        if step < self.from || step > self.until || !(step - self.from).is_multiple_of(self.every) {
            return Ok(model);
        }
        let span = (self.until - self.from).max(1) as f64;
        // At the last step of the schedule nothing is left of the way, whatever `every` is.
        let is_last = step + self.every > self.until;
        let left = if is_last { 0.0 } else { (1.0 - (step - self.from) as f64 / span).powi(3) };
        let mut prune = Prune {
            density: self.density,
            left,
            begun: &mut self.begun,
            done: Vec::new(),
            seen: 0,
            failed: None,
        };
        let model = model.map(&mut prune);
        let Prune { done, seen, failed, .. } = prune;
        self.layers = done;
        match failed {
            Some(error) => Err(error),
            None if seen < self.begun.len() => Err(Error::OtherModel),
            None => Ok(model),
        }
    }

    /// Layers that the last [`step`](Pruning::step) pruned, for [`carry_state`](crate::carry_state).
    pub fn pruned(&self) -> &[Pruned] {
        &self.layers
    }
}

/// Replaces values and blocks of layers: first a layer's values, then its blocks.
struct Prune<'a> {
    density: f64,
    /// Share of the way from the first density to the final one that is left.
    left: f64,
    begun: &'a mut [(Layer, usize)],
    done: Vec<Pruned>,
    /// Layers of the model that were found.
    seen: usize,
    failed: Option<Error>,
}

impl Prune<'_> {
    /// Slots to keep, and values of their blocks; `None` where the layer has so few already.
    fn kept(&self, layer: &Layer, begun: usize, values: Tensor<3>) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        let topology = layer.known.topology()?;
        let block = topology.block();
        let places = (topology.rows() / block) * (topology.cols() / block);
        let last = stored(places, self.density)?.min(begun);
        let wanted = last + ((begun - last) as f64 * self.left).round() as usize;
        if wanted >= topology.nnz() {
            return Ok(None);
        }
        let values = floats(values)?;
        let slots = largest(&values, block, wanted);
        let area = block * block;
        let kept = slots.iter().flat_map(|slot| &values[slot * area..][..area]).copied().collect();
        Ok(Some((slots, kept)))
    }
}

impl ModuleMapper for Prune<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(at) = self.begun.iter().position(|(layer, _)| layer.values == param.id) else {
            return param;
        };
        self.seen += 1;
        if self.failed.is_some() {
            return param;
        }
        let (layer, begun) = &self.begun[at];
        let plain = Tensor::<3>::from_dispatch(param.val().without_autodiff().into_dispatch());
        match self.kept(layer, *begun, plain) {
            Ok(None) => param,
            Ok(Some((kept, values))) => {
                let (id, block) = (ParamId::new(), param.lazy_shape()[1]);
                let data = TensorData::new(values, [kept.len(), block, block]);
                let pruned = Tensor::<D>::from_data(data, &param.val().device());
                let pruned = pruned.set_require_grad(param.is_require_grad());
                self.done.push(Pruned { before: param.id, values: id, kept });
                self.begun[at].0.values = id;
                Param::initialized(id, pruned)
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let Some(at) = self.begun.iter().position(|(layer, _)| layer.blocks == param.id) else {
            return param;
        };
        let layer = &mut self.begun[at].0;
        let Some(done) = self.done.iter().find(|done| done.values == layer.values) else { return param };
        let after = match layer.known.topology().and_then(|topology| part(topology, &done.kept)) {
            Ok(after) => after,
            Err(error) => {
                self.failed = Some(error);
                return param;
            }
        };
        let id = ParamId::new();
        *layer = Layer { values: layer.values, blocks: id, known: Known::new(after) };
        Blocks::hand_over(id, &layer.known);
        let coordinates = layer.known.coordinates(&param.device());
        Param::initialized(id, Tensor::from_dispatch(coordinates.into_dispatch()))
    }
}

/// The topology of some of the blocks.
fn part(topology: &Topology, slots: &[usize]) -> Result<Topology> {
    let all: Vec<_> = topology.coordinates().collect();
    let kept: Vec<_> = slots.iter().map(|&slot| (all[slot].0 as u32, all[slot].1 as u32)).collect();
    Ok(Topology::from_coordinates(topology.rows(), topology.cols(), topology.block(), &kept)?)
}
