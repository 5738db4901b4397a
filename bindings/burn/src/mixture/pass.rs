//! Memory and plans of a mixture for one number of rows.

use fretwork::gpu::{DType, Gpu, Plan, Recorder, Tensor};
use fretwork::graph::{Graph, Network, Precision, Weight};
use fretwork::nn::{Module as _, Moe};
use fretwork::ops::{Step, StepValues};
use fretwork::sparse::BlockMatrix;

use super::engine::Engine;
use crate::Result;
use crate::buffers::Lease;

/// A graph of one mixture. Its plans are recorded on the tensors of the first run, and bound to those of each run.
pub(super) struct Pass {
    pub(super) rows: usize,
    /// Whether a backward pass may follow.
    pub(super) differentiable: bool,
    /// Forward pass whose activations the memory holds; 0 for none.
    pub(super) stamp: u64,
    network: Network,
    step: Step,
    weights: [Tensor; 3],
    grads: [Tensor; 3],
    forward: Plan,
    backward: Option<Plan>,
}

impl Pass {
    pub(super) fn new(
        engine: &Engine,
        rows: usize,
        differentiable: bool,
        weights: [Tensor; 3],
        grads: [Tensor; 3],
    ) -> Result<Self> {
        let gpu = &engine.shared.gpu;
        let mut graph = Graph::new(0, Precision::F32);
        let shape = [rows, engine.moe.width];
        let x = match differentiable {
            true => graph.differentiable_input("input", &shape)?,
            false => graph.input("input", &shape, DType::F32)?,
        };
        // Rows in any order, since nothing is dropped: one sequence.
        let moe = Moe { sequence: rows, ..engine.moe.clone() };
        let y = moe.apply(&mut graph, x)?;
        graph.output(y)?;
        let layouts = [None, engine.layouts[0].as_ref(), engine.layouts[1].as_ref()];
        let mut pairs = Vec::new();
        for (layout, pair) in layouts.into_iter().zip(weights.iter().zip(&grads)) {
            let of = |tensor: &Tensor| -> Result<Weight> {
                Ok(match layout {
                    Some(layout) => {
                        Weight::Sparse(BlockMatrix::adopt(layout.pattern.clone(), tensor.clone())?)
                    }
                    None => Weight::Dense(tensor.clone()),
                })
            };
            pairs.push([of(pair.0)?, of(pair.1)?]);
        }
        let network = Network::with_params(gpu, graph, pairs)?;
        let step = Step::new(gpu, StepValues::backward(0, 1.0))?;
        let mut rec = Recorder::new(gpu);
        // A step means training, and losses of balance.
        network.forward(&mut rec, differentiable.then_some(&step))?;
        let forward = rec.finish()?;
        Ok(Self { rows, differentiable, stamp: 0, network, step, weights, grads, forward, backward: None })
    }

    /// Runs the forward pass of this number from `x` to `y`.
    pub(super) fn forward(
        &mut self,
        lease: Lease<'_>,
        x: &Tensor,
        weights: &[Tensor; 3],
        y: &Tensor,
        stamp: u64,
    ) -> Result<()> {
        self.stamp = 0;
        let bound: Vec<_> = self.weights.iter().zip(weights).collect();
        let plan = self.forward.rebind(lease.gpu(), &bound)?;
        lease.submit([x, self.network.input()], &plan, [self.network.logits(), y])?;
        self.stamp = stamp;
        Ok(())
    }

    /// Runs the backward pass of the last forward pass from `dy` to `grads` and `dx`.
    pub(super) fn backward(
        &mut self,
        lease: Lease<'_>,
        dy: &Tensor,
        weights: &[Tensor; 3],
        grads: &[Tensor; 3],
        dx: &Tensor,
    ) -> Result<()> {
        let gpu = lease.gpu().clone();
        let recorded = match self.backward.take() {
            Some(plan) => plan,
            None => self.record_backward(&gpu)?,
        };
        // The backward pass may reuse the memory of activations.
        self.stamp = 0;
        let bound: Vec<_> = self.weights.iter().zip(weights).chain(self.grads.iter().zip(grads)).collect();
        let plan = self.backward.insert(recorded).rebind(&gpu, &bound)?;
        let given = self.network.input_grad(0).unwrap_or_else(|| self.network.logits_grad());
        lease.submit([dy, self.network.logits_grad()], &plan, [given, dx])
    }

    fn record_backward(&self, gpu: &Gpu) -> Result<Plan> {
        let mut rec = Recorder::new(gpu);
        self.network.backward(&mut rec, Some(&self.step))?;
        Ok(rec.finish()?)
    }
}
