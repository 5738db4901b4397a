//! Neuron-importance pruning (Curci et al. 2021), on top of SET as published.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{LayerContext, Method, MutableTopology, Phase, SetPublished, Updates};
use crate::gpu::{Class, Gpu, Recorder};
use crate::graph::{Graph, ParamId};
use crate::ops::{self, ValueScore};
use crate::reference::bits;
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// SET as published. In addition, from two fifths of the run on and at every fiftieth of it, at most once an epoch, unimportant
/// neurons lose their inputs: those whose sum of incoming |w| is not above a percentile.
///
/// A neuron here is a row of blocks, or a column where the weight is stored by its inputs: as many neurons as a block has rows.
/// The dropped blocks are not replaced, though random growth may give the neuron inputs again. Outgoing weights stay, as published,
/// or are dropped too, in networks where one matrix reads the neurons of each sparse layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Importance {
    /// Schedule of SET's updates.
    pub updates: Updates,
    /// Percentile of the importance, as a share.
    pub percentile: f64,
    /// Whether outgoing weights are dropped too.
    #[serde(alias = "prune_outgoing")]
    pub outgoing: bool,
}

impl Default for Importance {
    fn default() -> Self {
        Self { updates: Updates::SET, percentile: 0.2, outgoing: false }
    }
}

impl Method for Importance {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn accepts(&self, graph: &Graph) -> Result<()> {
        if !(0.0..=1.0).contains(&self.percentile) {
            let reason = format!("a percentile of importance of {} is not in [0, 1]", self.percentile);
            return Err(Error::Config { option: "method", reason });
        }
        if !self.outgoing {
            return Ok(());
        }
        let fed: HashSet<ParamId> = graph.ids().filter_map(|param| graph.feeding(param)).collect();
        let Some(layer) = graph.sparse_params().find(|(param, _)| !fed.contains(param)) else {
            return Ok(());
        };
        let reason = format!(
            "no single matrix reads the neurons of {}, so their outgoing weights can't be dropped; leave the option out",
            layer.1
        );
        Err(Error::Config { option: "prune-outgoing", reason })
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        SetPublished { updates: self.updates }.update(rec, layer)
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        let Phase::EpochEnd { epoch, epochs, .. } = phase else { return Ok(()) };
        let done = epoch + 1;
        let every = (epochs / 50).max(1);
        if 5 * done < 2 * epochs || done == epochs || !done.is_multiple_of(every) {
            return Ok(());
        }
        let gpu = network.gpu().clone();
        let layers = network.sparse_layers();
        let by_input =
            |network: &dyn MutableTopology, param| network.model().store().get(param).is_stored_by_input();
        let mut lost: HashMap<ParamId, Vec<bool>> = HashMap::new();
        for (param, weight) in &layers {
            let importance = importance(&gpu, weight, by_input(network, *param))?;
            lost.insert(*param, unimportant(&importance, self.percentile));
        }
        for (param, weight) in &layers {
            let neurons = &lost[param];
            // The inputs of a layer are the neurons of the layer that feeds it in the graph, which may not be the one before it in the list.
            let feeding = network.model().graph().feeding(*param).filter(|_| self.outgoing);
            let inputs = feeding.and_then(|feeding| lost.get(&feeding));
            let by_input = by_input(network, *param);
            let pattern = weight.pattern();
            let kept: Vec<usize> = pattern
                .topology(&gpu)?
                .coordinates()
                .filter(|&(row, col)| {
                    let (neuron, input) = if by_input { (col, row) } else { (row, col) };
                    !neurons[neuron] && inputs.is_none_or(|inputs| !inputs[input])
                })
                .map(|(row, col)| row * pattern.col_blocks() + col)
                .collect();
            // A layer keeps at least its old blocks: none is emptied.
            if kept.is_empty() || kept.len() == pattern.nnz() {
                continue;
            }
            let set = bits::set(pattern.places(), kept.iter().copied());
            let set = gpu.upload(Class::Scratch, "kept", &[set.len()], &set)?;
            network.reshape(*param, &set, kept.len())?;
        }
        Ok(())
    }
}

/// Sum of incoming |w| of each row of blocks, or of each column where the weight is stored by its inputs.
fn importance(gpu: &Gpu, weight: &BlockMatrix, by_input: bool) -> Result<Vec<f64>> {
    let pattern = weight.pattern();
    let scores = gpu.zeros::<f32>(Class::Scratch, "scores", &[pattern.places()])?;
    let mut rec = Recorder::new(gpu);
    ops::score_values(&mut rec, weight, None, &scores, ValueScore::Abs)?;
    gpu.run(&rec.finish()?)?;
    let scores = gpu.read::<f32>(&scores)?.wait()?;
    let [rows, cols] = [pattern.row_blocks(), pattern.col_blocks()];
    let score = |row: usize, col: usize| f64::from(scores[row * cols + col]);
    Ok(match by_input {
        false => (0..rows).map(|row| (0..cols).map(|col| score(row, col)).sum()).collect(),
        true => (0..cols).map(|col| (0..rows).map(|row| score(row, col)).sum()).collect(),
    })
}

/// Whether each importance is not above a percentile of the positive ones, which is interpolated linearly between neighbours as in
/// NumPy.
fn unimportant(importance: &[f64], percentile: f64) -> Vec<bool> {
    let mut sorted: Vec<f64> = importance.iter().copied().filter(|&importance| importance > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return vec![false; importance.len()];
    }
    let at = percentile * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    let bar = low + (high - low) * at.fract();
    importance.iter().map(|&importance| importance <= bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.percentile([1, 2, 3, 4, 10], 30)` is 2.2.
    #[test]
    fn percentiles_are_numpys() {
        let importance = [10.0, 0.0, 2.0, 1.0, 4.0, 3.0];
        assert_eq!(unimportant(&importance, 0.3), [false, true, true, true, false, false]);
        assert_eq!(unimportant(&[0.0; 3], 0.3), [false; 3]);
    }
}
