//! Updates of topologies in a training loop of another framework.

use fretwork::gpu::{Class, Pending, Recorder};
use fretwork::graph::Signals;
use fretwork::methods::{Clock, Every, Kind, LayerContext, Magnitude, MethodConfig, Updates, Workspace};
use fretwork::ops::StepValues;
use fretwork::sparse::BlockMatrix;
use fretwork::{Error, Result};
use pyo3::prelude::*;

use crate::errors::OrRaise as _;
use crate::network::{Draws, State};

/// A layer's topology after an update, in row order: `crow_indices`, `col_indices`, values, and the optimizer's state.
pub(crate) type Updated = (Vec<u32>, Vec<u32>, Vec<f32>, Vec<Vec<f32>>);

/// A pass that an update repeats: its input, the gradients of its output and of the losses of balance, and its draws.
pub(crate) struct Repeated<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) dy: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) draws: Draws,
    pub(crate) balance: &'a [f32],
}

/// A method by its name. Only those whose update needs nothing but one step of one layer can be used outside of a run.
fn method(name: &str) -> Result<MethodConfig> {
    let kind: Kind = name.parse()?;
    match kind {
        Kind::Set | Kind::Rigl => Ok(MethodConfig::new(kind)),
        _ => {
            let reason = format!(
                "{name} keeps state over a whole run, so it can't be used in a loop of one's own; use rigl, set or magnitude"
            );
            Err(Error::Config { option: "method", reason })
        }
    }
}

/// Share of the blocks that an update exchanges at `step` of `steps`; none where no update is due.
#[pyfunction]
pub(crate) fn update_share(
    name: &str,
    every: u64,
    until: f64,
    fraction: f64,
    step: u64,
    steps: u64,
) -> PyResult<Option<f64>> {
    let mut config = method(name).or_raise()?;
    if let Some(updates) = config.shared().updates {
        (updates.every, updates.until, updates.fraction) = (Every::Steps(every), until, fraction);
        updates.validate().or_raise()?;
    }
    Ok(config.build().share(Clock { step, per_epoch: steps.max(1), steps, learning_rate: 1.0 }))
}

/// Share of the blocks beyond its target that a layer has left after the pruning update at `step` of `steps`; none where no update is due.
#[pyfunction]
pub(crate) fn unpruned_share(every: u64, until: f64, step: u64, steps: u64) -> PyResult<Option<f64>> {
    let updates = Updates { every: Every::Steps(every), until, ..Magnitude::default().updates };
    updates.validate().or_raise()?;
    let clock = Clock { step, per_epoch: steps.max(1), steps, learning_rate: 1.0 };
    Ok(updates.at(clock).map(|_| {
        let [update, all] = updates.counts(clock);
        Magnitude::open(update, all)
    }))
}

impl State {
    /// Repeats the passes of a step, and exchanges a share of the blocks of parameter number `index` by their scores in it.
    pub(crate) fn update(
        &mut self,
        name: &str,
        index: usize,
        Repeated { x, dy, rows, draws, balance }: Repeated<'_>,
        share: f64,
        state: &[&[f32]],
        [step, seed]: [u64; 2],
    ) -> Result<Updated> {
        let method = method(name)?.build();
        let gpu = self.gpu.clone();
        let (place, ..) = self.forward(x, rows, false, draws)?;
        let [weight, grad] = self.params[index].clone();
        let Some(matrix) = weight.sparse() else {
            return Err(Error::Topology {
                reason: format!("parameter {index} is dense and has none to update"),
            });
        };
        let pattern = matrix.pattern();
        let shape = matrix.values().shape();
        let state = state.iter().map(|part| gpu.upload(Class::Optimizer, "state", shape, part));
        let state = state.collect::<Result<Vec<_>>>()?;
        let workspace = Workspace::new(&gpu, pattern, false)?;
        let k = method.k(pattern.nnz(), pattern.nnz(), share);
        gpu.write(workspace.wanted(), &[k as u32])?;

        let pass = &self.passes[place];
        let mut rec = Recorder::new(&gpu);
        let training = draws.training.then_some(&pass.step);
        pass.network.backward_with(&mut rec, training, &mut |rec, ready| {
            let (true, Some(signals)) = (ready.param.index() == index, ready.signals) else { return Ok(()) };
            if let Signals::Routed { .. } = signals {
                let reason = "the method scores layers that process every row, not experts".to_owned();
                return Err(Error::Config { option: "method", reason });
            }
            let context =
                LayerContext::new(index as u32, seed, matrix, grad.values(), signals, &pass.step, &workspace);
            method.update(rec, &LayerContext { state: &state, ..context })
        })?;
        let plan = rec.finish()?;
        pass.weigh_balance(&gpu, balance)?;
        gpu.write(pass.network.output_grads()[0], dy)?;
        // Growth is drawn for the step of the update, and dropout for that of the pass.
        let draw = if draws.training { draws.index } else { step as u32 };
        pass.step.write(&gpu, StepValues::backward(draw, 1.0))?;
        gpu.run(&plan)?;
        self.passes[place].stamp = 0;

        let topology = pattern.topology(&gpu)?;
        let tensors = std::iter::once(BlockMatrix::values(matrix)).chain(&state);
        let reads = tensors.map(|tensor| gpu.read::<f32>(tensor)).collect::<Result<Vec<_>>>()?;
        let mut parts = reads.into_iter().map(Pending::wait).collect::<Result<Vec<_>>>()?.into_iter();
        let values = topology.in_row_order(&parts.next().unwrap_or_default());
        let (crow, col) = topology.csr();
        Ok((crow, col, values, parts.map(|part| topology.in_row_order(&part)).collect()))
    }
}
