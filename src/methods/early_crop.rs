//! Early-CroP (Rachwan et al. 2022), unstructured.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Budget, Method, MutableTopology, Phase, Saved, Scope, keep_by};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::{self, ValueScore};
use crate::{Error, Result};

/// Batches over which gradients are summed for a score.
const BATCHES: u64 = 5;
/// Most rounds of pruning on the way to the target.
const ROUNDS: i32 = 100;
/// Step of the finite difference, as a share of the weights' norm.
const NUDGE: f64 = 1e-3;

/// Options of [`EarlyCrop`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EarlyCropOptions {
    /// Scope of pruning.
    pub scope: Scope,
}

/// Trains with every block until the weights have settled, and then prunes the blocks on which the gradient flow depends least:
/// those with the smallest sum of |w * (H g)|, g the gradient and H the Hessian. H g is a difference of two gradients.
///
/// Weights have settled in the sense of the reference: their distance from those after the first epoch, over the norm of
/// those, changes from one epoch to the next by less than the density times the second distance. Pruning is at the latest after
/// half of the run.
#[derive(Debug, Default)]
pub struct EarlyCrop {
    options: EarlyCropOptions,
    /// Weights of the matrices after the first epoch.
    reference: Option<Vec<Tensor>>,
    /// Distance after each epoch so far.
    distances: Vec<f64>,
    pruned: bool,
}

impl From<EarlyCropOptions> for EarlyCrop {
    fn from(options: EarlyCropOptions) -> Self {
        Self { options, ..Self::default() }
    }
}

impl EarlyCrop {
    /// Whether weights with these distances have settled, in a run of this sparsity.
    pub fn is_settled(distances: &[f64], sparsity: f64) -> bool {
        match *distances {
            [_, second, ..] => {
                let [.., before, now] = *distances else { return false };
                (now - before).abs() < second * (1.0 - sparsity)
            }
            _ => false,
        }
    }

    /// Number of the `places` blocks that each round keeps, `target` in the last: the sparsity rises from a half towards that of
    /// the run, and each round halves the difference.
    pub fn rounds(sparsity: f64, places: usize, target: usize) -> Vec<usize> {
        let first = if sparsity > 0.5 { 0.5 } else { 0.25 };
        let mut counts: Vec<usize> = (0..=ROUNDS)
            .map(|i| sparsity - (sparsity - first) * 0.5f64.powi(i))
            .map(|sparsity| places - (sparsity * places as f64).floor() as usize)
            .map(|count| count.max(target))
            .collect();
        counts.push(target);
        // A round that keeps as many blocks as the one before it changes nothing.
        counts.dedup();
        counts
    }

    fn distance(&mut self, network: &dyn MutableTopology) -> Result<f64> {
        let gpu = network.gpu();
        let weights = weights(network);
        let Some(reference) = &self.reference else {
            let copies = weights.iter().map(|weight| copy(gpu, weight)).collect::<Result<_>>()?;
            self.reference = Some(copies);
            return Ok(0.0);
        };
        let (mut difference, mut norm) = (0.0, 0.0);
        for (weight, reference) in weights.iter().zip(reference) {
            let (now, then) = (gpu.read::<f32>(weight)?.wait()?, gpu.read::<f32>(reference)?.wait()?);
            for (now, then) in now.into_iter().zip(then) {
                difference += f64::from(now - then).powi(2);
                norm += f64::from(then).powi(2);
            }
        }
        Ok((difference / norm).sqrt())
    }

    fn prune(&mut self, network: &mut dyn MutableTopology) -> Result<()> {
        let places: usize = network.sparse_layers().iter().map(|(_, weight)| weight.pattern().places()).sum();
        let target = network.targets().iter().sum();
        for count in Self::rounds(network.sparsity(), places, target) {
            let flow = hessian_gradient(network)?;
            let budget = Budget::new(self.options.scope, count, network);
            keep_by(self, network, &budget, &|rec, _, (layer, weight), scores| {
                ops::score_values(rec, weight, Some(&flow[layer.index()]), scores, ValueScore::Times)
            })?;
        }
        (self.pruned, self.reference) = (true, None);
        Ok(())
    }
}

/// Stored weights of all matrices.
fn weights(network: &dyn MutableTopology) -> Vec<Tensor> {
    network.model().store().matrices().map(|param| param.values().clone()).collect()
}

fn copy(gpu: &Gpu, of: &Tensor) -> Result<Tensor> {
    let copy = gpu.alloc::<f32>(Class::Scratch, "copy", of.shape())?;
    let mut rec = Recorder::new(gpu);
    ops::blend(&mut rec, of, &copy, [1.0, 0.0])?;
    gpu.run(&rec.finish()?)?;
    Ok(copy)
}

/// Gradients of all parameters, summed over batches.
fn gradient(network: &mut dyn MutableTopology) -> Result<Vec<Tensor>> {
    let gpu = network.gpu().clone();
    let mut sums: Vec<Tensor> = Vec::new();
    for batch in 0..BATCHES {
        network.backward(batch)?;
        let grads = network.model().store().iter().map(|param| param.grads().clone());
        if batch == 0 {
            sums = grads.map(|grad| copy(&gpu, &grad)).collect::<Result<_>>()?;
            continue;
        }
        let mut rec = Recorder::new(&gpu);
        for (grad, sum) in grads.zip(&sums) {
            ops::blend(&mut rec, &grad, sum, [1.0, 1.0])?;
        }
        gpu.run(&rec.finish()?)?;
    }
    Ok(sums)
}

/// Hessian times gradient of all parameters: the change of the gradient along itself, over the step.
fn hessian_gradient(network: &mut dyn MutableTopology) -> Result<Vec<Tensor>> {
    let gpu = network.gpu().clone();
    let values: Vec<Tensor> = network.model().store().iter().map(|param| param.values().clone()).collect();
    let norm = |tensors: &[Tensor]| -> Result<f64> {
        let mut sum = 0.0;
        for tensor in tensors {
            sum += gpu.read::<f32>(tensor)?.wait()?.into_iter().map(|x| f64::from(x).powi(2)).sum::<f64>();
        }
        Ok(sum.sqrt())
    };
    let here = gradient(network)?;
    let kept = values.iter().map(|tensor| copy(&gpu, tensor)).collect::<Result<Vec<_>>>()?;
    let nudge = NUDGE * norm(&values)? / norm(&here)?.max(f64::MIN_POSITIVE);
    let blend_all = |from: &[Tensor], to: &[Tensor], weights: [f64; 2]| -> Result<()> {
        let mut rec = Recorder::new(&gpu);
        for (from, to) in from.iter().zip(to) {
            ops::blend(&mut rec, from, to, weights.map(|weight| weight as f32))?;
        }
        gpu.run(&rec.finish()?)?;
        Ok(())
    };
    blend_all(&here, &values, [nudge, 1.0])?;
    let there = gradient(network)?;
    blend_all(&kept, &values, [1.0, 0.0])?;
    blend_all(&here, &there, [-1.0 / nudge, 1.0 / nudge])?;
    Ok(there)
}

impl Method for EarlyCrop {
    fn measures_gradients(&self) -> bool {
        true
    }

    fn has_phases(&self) -> bool {
        true
    }

    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        let Phase::EpochEnd { epoch, epochs, .. } = phase else { return Ok(()) };
        if self.pruned || network.sparse_layers().is_empty() {
            return Ok(());
        }
        let distance = self.distance(network)?;
        self.distances.push(distance);
        if Self::is_settled(&self.distances, network.sparsity()) || 2 * (epoch + 1) >= epochs {
            self.prune(network)?;
        }
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Saved)> {
        let reference = self.reference.iter().flatten().cloned().map(Saved::Numbers).enumerate();
        reference.map(|(layer, weights)| (format!("reference.{layer}"), weights)).collect()
    }

    fn memory(&self) -> Value {
        json!({ "distances": self.distances, "pruned": self.pruned })
    }

    fn recall(&mut self, memory: &Value, network: &mut dyn MutableTopology) -> Result<()> {
        let bad = |error: serde_json::Error| Error::Config {
            option: "method",
            reason: format!("early-crop: {error}"),
        };
        self.distances = serde_json::from_value(memory["distances"].clone()).map_err(bad)?;
        self.pruned = serde_json::from_value(memory["pruned"].clone()).map_err(bad)?;
        if !self.pruned && !self.distances.is_empty() {
            let gpu = network.gpu();
            let alloc = |weight: &Tensor| gpu.alloc::<f32>(Class::Scratch, "reference", weight.shape());
            self.reference = Some(weights(network).iter().map(alloc).collect::<Result<_>>()?);
        }
        Ok(())
    }
}
