//! Plans of a run: dispatches of a step, recorded once.

use std::cell::RefCell;

use crate::gpu::{Class, Gpu, Mark, Plan, Recorder, Tensor};
use crate::graph::{GradientReady, Half, Network, Param, Signals};
use crate::methods::{LayerContext, Method};
use crate::ops::{self, LossScale, Step, StepValues};
use crate::optim::Update;
use crate::random::{Key, Stream};

use super::accumulate::{Accumulate, LayerHook};
use super::program::{GRADIENTS, Program};
use super::{LossPass, Objective, Trainer};
use crate::data::Targets;
use crate::{Error, Result};

/// Buffers of a step besides those of the network.
#[derive(Debug)]
pub(super) struct StepBuffers {
    /// Classes of the rows, `u32[rows]`, or their targets, `f32[rows, columns]`.
    pub(super) targets: Tensor,
    pub(super) step: Step,
    /// Loss of each row, and 1 for a hit where the objective counts hits: `f32[rows, 1 or 2]`.
    report: Tensor,
    /// Running totals `[loss, hits]`, of all networks together.
    pub(super) totals: Tensor,
    /// Running totals `[loss, hits]` of the head of each part but the last; none in a network of one part.
    pub(super) heads: Vec<Tensor>,
    /// Totals `[loss, hits]` of each of several networks over the rows of a test.
    pub(super) by_network: Option<Tensor>,
    /// A word per stage; see [`Network::scan`].
    pub(super) status: Tensor,
    /// A word per tensor of [`Network::activations`]; see [`ops::activity`].
    pub(super) activity: Tensor,
    /// Numbers of empty rows and columns of blocks, `u32[sparse layers, 2]`.
    pub(super) empty: Tensor,
}

impl StepBuffers {
    /// Allocates the buffers for a network and its loss. In half precision the step has a loss scale.
    pub(super) fn new(
        gpu: &Gpu,
        model: &Network,
        objective: &dyn Objective,
        half: Option<Half>,
    ) -> Result<Self> {
        let targets = objective.targets(&model.output_shapes())?;
        let (rows, networks) = (model.logits().shape()[0], objective.networks());
        let sparse = model.store().sparse().count();
        let step = Step::new(gpu, StepValues::forward(0))?;
        let step = match half {
            Some(half) => step.with_scale(LossScale::new(gpu, half.loss_scale)?),
            None => step,
        };
        Ok(Self {
            targets: match targets {
                Targets::Classes(_) => gpu.zeros::<u32>(Class::Activations, "labels", &[rows])?,
                Targets::Values(columns) => {
                    gpu.zeros::<f32>(Class::Activations, "targets", &[rows, columns])?
                }
            },
            step,
            report: gpu.alloc::<f32>(
                Class::Scratch,
                "report",
                &[rows * networks.unwrap_or(1), 1 + usize::from(objective.counts_hits())],
            )?,
            totals: gpu.zeros::<f32>(Class::Scratch, "totals", &[2])?,
            heads: (1..model.parts())
                .map(|_| gpu.zeros::<f32>(Class::Scratch, "totals of a head", &[2]))
                .collect::<Result<_>>()?,
            by_network: networks
                .map(|networks| gpu.zeros::<f32>(Class::Scratch, "totals of networks", &[networks * 2]))
                .transpose()?,
            status: gpu.zeros::<u32>(Class::Scratch, "status", &[model.stages().len()])?,
            activity: gpu.zeros::<u32>(Class::Scratch, "activity", &[model.activations().len()])?,
            empty: gpu.zeros::<u32>(Class::Scratch, "empty lines", &[sparse.max(1), 2])?,
        })
    }

    /// Records loss, hits and gradient of the outputs of a part.
    pub(super) fn loss(
        &self,
        rec: &mut Recorder<'_>,
        model: &Network,
        objective: &dyn Objective,
        of: LossOf<'_>,
    ) -> Result<()> {
        let Self { targets, step, report, totals, .. } = self;
        let (outputs, output_grads) = (model.part_outputs(of.part), model.part_output_grads(of.part));
        let pass = LossPass {
            outputs: &outputs,
            output_grads: &output_grads,
            targets,
            report,
            step,
            training: of.training,
            taught: of.taught,
        };
        objective.record(rec, &pass)?;
        if of.counted {
            let totals = self.heads.get(of.part).unwrap_or(totals);
            ops::column_sums_later(rec, report, &totals.rows(0, report.shape()[1])?, true)?;
        }
        match (&self.by_network, of.training) {
            (Some(by_network), false) => {
                let columns = by_network.len();
                let by_row = report.reshape(&[report.len() / columns, columns])?;
                ops::column_sums_later(rec, &by_row, by_network, true)
            }
            _ => Ok(()),
        }
    }
}

/// Rows that a loss is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct LossOf<'a> {
    /// Part of the network whose loss it is.
    pub(super) part: usize,
    /// Whether loss and hits are added to the totals.
    pub(super) counted: bool,
    /// Whether the rows are for training.
    pub(super) training: bool,
    /// Probabilities that networks are taught besides the targets.
    pub(super) taught: Option<&'a Tensor>,
}

/// Plans of a run.
#[derive(Debug)]
pub(super) struct Plans {
    /// A training step.
    pub(super) train: Program,
    /// A training step with a scan for NaN and infinity, for steps whose status is read back. Other steps need no scan: a weight that
    /// is not finite stays so.
    pub(super) reported: Program,
    /// A training step with an observation, for a method that observes.
    pub(super) observe: Option<Program>,
    /// Forward pass, backward pass and update of topologies, for a method that records one. There is no scan: values that are not
    /// finite show in the next reported step.
    pub(super) update: Option<Program>,
    /// The update for the last batch of an epoch, where it has fewer rows than score growth.
    pub(super) last_update: Option<Program>,
    /// Passes of steps that accumulate gradients, where steps have several.
    pub(super) accumulate: Option<Accumulate>,
    /// Update of the f16 copies of the weights, before a test.
    pub(super) refresh: Plan,
    /// Count of empty rows and columns of blocks.
    pub(super) empty: Plan,
    /// Forward pass and loss of test rows, with scans of the activations.
    pub(super) test: Plan,
}

impl Trainer {
    /// Records all plans again.
    pub(super) fn plan(&mut self) -> Result<()> {
        self.plans = self.record()?;
        self.evolution.reshaped = false;
        Ok(())
    }

    fn record(&self) -> Result<Plans> {
        let [rows, last] = self.score_rows();
        let update = self.record_update(rows)?;
        let last_update = if update.is_some() && last < rows { self.record_update(last)? } else { None };
        if update.is_some() && self.evolution.method.updates().is_none() {
            let reason = format!(
                "{} records an update, but has no schedule of updates; return one from `Method::updates`",
                self.evolution.method.name()
            );
            return Err(Error::Config { option: "method", reason });
        }
        let births = update.is_some() || self.evolution.grown;
        let each = |method: &dyn Method, rec: &mut Recorder<'_>, layer: &LayerContext<'_>| {
            method.each_step(rec, layer)
        };
        let step = |scanned: bool, gathered: Option<&[Tensor]>| {
            self.record_step(rows, &each, births, scanned, gathered)
        };
        let (train, reported) = (step(false, None)?, step(true, None)?);
        let accumulate = match self.settings.pass_rows() < self.settings.batch {
            true => Some(Accumulate::record(&self.gpu, self, &step)?),
            false => None,
        };
        let observe = match self.evolution.method.observe_every() {
            Some(_) => {
                let both = |method: &dyn Method, rec: &mut Recorder<'_>, layer: &LayerContext<'_>| {
                    method.observe(rec, layer)?;
                    method.each_step(rec, layer)
                };
                Some(self.record_step(rows, &both, births, true, None)?)
            }
            None => None,
        };
        let refresh = record_refresh(&self.gpu, &self.model)?;
        let test = record_test(&self.gpu, &self.model, &*self.objective, &self.batch.buffers)?;
        let empty = self.record_empty()?;
        Ok(Plans { train, reported, observe, update, last_update, accumulate, refresh, empty, test })
    }

    /// Records the method's update of each sparse layer, with growth scored by `rows` rows; `None` for a method that records
    /// nothing. An update that follows a training step does not count the loss of its batch again.
    fn record_update(&self, rows: usize) -> Result<Option<Program>> {
        let mut rec = Recorder::new(&self.gpu);
        let counted = self.evolution.updates_replace_steps();
        // With a loss scale, blocks are exchanged once it is known whether all gradients are finite.
        let later = self.batch.buffers.step.scale().map(|_| RefCell::new(Vec::new()));
        let update: &LayerHook<'_> =
            &|method, rec, layer| method.update(rec, &LayerContext { later: later.as_ref(), ..*layer });
        if !self.record_passes(&mut rec, rows, update, counted, false)? {
            return Ok(None);
        }
        rec.mark(Mark { kind: GRADIENTS, name: String::new(), tensor: None })?;
        self.record_scaling(&mut rec, false)?;
        later
            .iter()
            .try_for_each(|later| later.borrow().iter().try_for_each(|exchange| exchange.record(&mut rec)))?;
        Ok(Some(self.program(rec)?))
    }

    /// Records a training step with the method's work on each sparse layer. With `births` the optimizer corrects the moments of
    /// blocks by their age; with `scanned` there is a scan for NaN and infinity.
    /// The gradients that earlier passes `gathered` are added first, where there are any.
    fn record_step(
        &self,
        rows: usize,
        hook: &LayerHook<'_>,
        births: bool,
        scanned: bool,
        gathered: Option<&[Tensor]>,
    ) -> Result<Program> {
        let mut rec = Recorder::new(&self.gpu);
        self.record_passes(&mut rec, rows, hook, true, scanned)?;
        for (span, gathered) in self.model.store().spans().zip(gathered.into_iter().flatten()) {
            ops::blend(&mut rec, gathered, span.grads, [1.0, 1.0])?;
        }
        rec.mark(Mark { kind: GRADIENTS, name: String::new(), tensor: None })?;
        self.record_scaling(&mut rec, true)?;
        let spans: Vec<_> = self.model.store().spans().collect();
        let updates = spans.iter().enumerate().map(|(number, span)| {
            let born = self.evolution.births(number, span).filter(|_| births);
            Update { span: *span, born, step: &self.batch.buffers.step }
        });
        self.optimizer.record_all(&mut rec, &updates.collect::<Vec<_>>())?;
        self.program(rec)
    }

    /// The program of a recording, which stops where the exchange wants it to.
    fn program(&self, rec: Recorder<'_>) -> Result<Program> {
        Ok(Program::new(rec.finish()?, self.exchange.as_deref()))
    }

    /// Records the decision whether the step counts, with a loss scale. `moves` says whether the optimizer then moves weights.
    fn record_scaling(&self, rec: &mut Recorder<'_>, moves: bool) -> Result<()> {
        let (Some(half), Some(scale)) = (self.settings.precision.half(), self.batch.buffers.step.scale())
        else {
            return Ok(());
        };
        // The gradient of a bias is the column sums of that of the output, so it is finite only where the latter is. Sums of f16
        // are far below the largest f32, so the gradient of a weight is finite where that of the output is. Weights of layers
        // without a bias are watched themselves.
        let watched = self.model.store().gradients(|param| !param.is_biased())?;
        ops::watch_and_decide(rec, &watched, scale, half.patience, moves)
    }

    /// Records forward pass, loss, backward pass and scan, with a hook at each sparse layer. Returns whether the hook recorded
    /// anything.
    pub(super) fn record_passes(
        &self,
        rec: &mut Recorder<'_>,
        rows: usize,
        hook: &LayerHook<'_>,
        counted: bool,
        scanned: bool,
    ) -> Result<bool> {
        let StepBuffers { step, status, .. } = &self.batch.buffers;
        let (model, method) = (&self.model, &*self.evolution.method);
        model.refresh(rec, Some(step))?;
        let mut recorded = 0;
        for part in 0..model.parts() {
            model.forward_part(rec, part, Some(step))?;
            let teachers = self.teachers.as_ref().filter(|teachers| teachers.taught);
            let taught = teachers.map(|teachers| teachers.record(rec, model.input())).transpose()?;
            let of = LossOf { part, counted, training: true, taught };
            self.batch.buffers.loss(rec, model, &*self.objective, of)?;
            model.backward_part_with(rec, part, Some(step), &mut |rec, ready| {
                let before = rec.len();
                if let Some(layer) = self.layer_context(ready, rows) {
                    hook(method, rec, &layer)?;
                }
                recorded += rec.len() - before;
                Ok(())
            })?;
            if scanned {
                model.scan_part(rec, part, status)?;
            }
        }
        Ok(recorded > 0)
    }

    /// Rows that score growth: of a full batch, and of the last batch of an epoch, without padding. Updates at the end of epochs
    /// read the last batch only.
    fn score_rows(&self) -> [usize; 2] {
        let (batch, labels) = (self.settings.pass_rows(), self.batch.labels_per_row());
        // Products process four rows at a time.
        let default = || {
            let sixteenth = (batch * labels).div_ceil(16).next_multiple_of(4);
            sixteenth.min((self.scorable_rows() / 4 * 4).max(4))
        };
        let rows = self.evolution.method.score_rows().unwrap_or_else(default).min(batch * labels);
        let last = (self.data.train.rows() - 1) % self.settings.batch % batch + 1;
        let last = rows.min(last * labels);
        if self.evolution.updates_replace_steps() { [rows, last] } else { [last; 2] }
    }

    /// Rows of the widest layer that fit a binding. A score-only product can't be split over bindings: a block's score is a
    /// reduction of finished sums.
    fn scorable_rows(&self) -> usize {
        let widest = self.model.store().sparse().flat_map(Param::sides).max().unwrap_or(1);
        let row = widest as u64 * self.settings.precision.dtype().size();
        (self.gpu.limits().max_storage_buffer_binding_size / row) as usize
    }

    /// Context of a layer for the method, if the layer is sparse and may change.
    fn layer_context<'a>(&'a self, ready: GradientReady<'a>, score_rows: usize) -> Option<LayerContext<'a>> {
        let signals: Signals<'a> = ready.signals?;
        let (param, seed) = (self.model.store().get(ready.param), self.settings.model.seed());
        Some(LayerContext {
            param: ready.param,
            weight: param.weight().sparse()?,
            grad: param.grads(),
            state: param.state(),
            signals,
            fan_in: param.fan_in(),
            step: &self.batch.buffers.step,
            score_rows,
            growth: Key::new(seed, Stream::Growth(param.stream())),
            regrowth: Key::new(seed, Stream::Regrowth(param.stream())),
            workspace: self.evolution.workspaces[ready.param.index()].as_ref()?,
            counted: param.counted(),
            later: None,
        })
    }
}

/// Records the f16 copies of the weights, outside of a step.
pub(super) fn record_refresh(gpu: &Gpu, model: &Network) -> Result<Plan> {
    let mut rec = Recorder::new(gpu);
    model.refresh(&mut rec, None)?;
    rec.finish()
}

/// Records forward pass, loss and scans of the activations, those of a part before the next takes their memory.
fn record_test(gpu: &Gpu, model: &Network, objective: &dyn Objective, buffers: &StepBuffers) -> Result<Plan> {
    let mut rec = Recorder::new(gpu);
    let (activations, last) = (model.activations_by_part(), model.parts() - 1);
    for part in 0..=last {
        model.predict_part(&mut rec, part, None)?;
        if part == last {
            let of = LossOf { part, counted: true, training: false, taught: None };
            buffers.loss(&mut rec, model, objective, of)?;
        }
        model.scan_part(&mut rec, part, &buffers.status)?;
        for (word, (_, _, activation)) in activations.iter().enumerate().filter(|(_, of)| of.0 == part) {
            ops::activity(&mut rec, activation, &buffers.activity, word)?;
        }
    }
    rec.finish()
}

impl Plans {
    /// All plans.
    pub(super) fn all(&self) -> impl Iterator<Item = &Plan> {
        let Self { train, reported, observe, update, last_update, accumulate, refresh, empty, test } = self;
        let optional = [observe, update, last_update].into_iter().flatten();
        let programs = [train, reported].into_iter().chain(optional).flat_map(Program::plans);
        [refresh, empty, test]
            .into_iter()
            .chain(programs)
            .chain(accumulate.iter().flat_map(Accumulate::plans))
    }

    /// Plans without dispatches, until the real ones are recorded.
    pub(super) fn empty(gpu: &Gpu) -> Result<Self> {
        let nothing = || Recorder::new(gpu).finish();
        Ok(Self {
            train: Program::new(nothing()?, None),
            reported: Program::new(nothing()?, None),
            observe: None,
            update: None,
            last_update: None,
            accumulate: None,
            refresh: nothing()?,
            empty: nothing()?,
            test: nothing()?,
        })
    }
}
