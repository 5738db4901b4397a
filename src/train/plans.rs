//! The plans of a run: what the device does in a step.

use std::cell::RefCell;

use crate::Result;
use crate::gpu::{Class, Gpu, Plan, Recorder, Tensor};
use crate::graph::{GradientReady, Half, Network, Param, Signals};
use crate::methods::{Method, Site, Workspace};
use crate::ops::{self, LossScale, Step, StepValues};
use crate::optim::Update;
use crate::random::{Key, Stream};

use super::{LossPass, Objective, Trainer};
use crate::data::Targets;

/// What the plans read and write besides the network.
#[derive(Debug)]
pub(super) struct Room {
    /// Classes of the rows, `u32[rows]`, or their targets, `[rows, columns]`.
    pub(super) targets: Tensor,
    pub(super) step: Step,
    /// Loss of each row, and whether it was a hit where the objective counts that.
    report: Tensor,
    /// `[loss, hits]`, running totals.
    pub(super) totals: Tensor,
    /// A word per stage; see [`Network::scan`].
    pub(super) status: Tensor,
    /// A word per tensor of [`Network::activations`]; see [`ops::activity`].
    pub(super) activity: Tensor,
    /// Empty rows and columns of blocks, `[sparse layers, 2]`.
    pub(super) empty: Tensor,
}

impl Room {
    /// Room for what the loss makes of the network's logits. Gradients are scaled where the network is of half precision.
    pub(super) fn new(
        gpu: &Gpu,
        model: &Network,
        objective: &dyn Objective,
        half: Option<Half>,
    ) -> Result<Self> {
        let targets = objective.targets(&model.output_shapes())?;
        let rows = model.logits().shape()[0];
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
                &[rows, 1 + usize::from(objective.counts_hits())],
            )?,
            totals: gpu.zeros::<f32>(Class::Scratch, "totals", &[2])?,
            status: gpu.zeros::<u32>(Class::Scratch, "status", &[model.stages().len()])?,
            activity: gpu.zeros::<u32>(Class::Scratch, "activity", &[model.activations().len()])?,
            empty: gpu.zeros::<u32>(Class::Scratch, "empty lines", &[sparse.max(1), 2])?,
        })
    }

    /// Records loss and hits of the logits, and their gradient; `counted` ones join the totals.
    pub(super) fn loss(
        &self,
        rec: &mut Recorder<'_>,
        model: &Network,
        objective: &dyn Objective,
        counted: bool,
    ) -> Result<()> {
        let Self { targets, step, report, totals, .. } = self;
        let (outputs, output_grads) = (model.outputs(), model.output_grads());
        let pass = LossPass { outputs: &outputs, output_grads: &output_grads, targets, report, step };
        objective.record(rec, &pass)?;
        if counted {
            ops::column_sums(rec, report, &totals.rows(0, report.shape()[1])?, true)
        } else {
            Ok(())
        }
    }
}

/// The plans.
#[derive(Debug)]
pub(super) struct Plans {
    /// A training step.
    pub(super) train: Plan,
    /// The same with a scan for NaN and infinity, for steps whose status is read back. What is not finite stays: a weight that
    /// is not does not recover.
    pub(super) reported: Plan,
    /// A training step in which the method looks on, if it does.
    pub(super) observe: Option<Plan>,
    /// A step that changes topologies instead of weights, if the method has any. Nothing is scanned: what is not finite and
    /// stays, shows in the next step that is reported.
    pub(super) update: Option<Plan>,
    /// The same with the last batch of an epoch, where it has fewer rows than growth is scored by.
    pub(super) last_update: Option<Plan>,
    /// What is due before a test: that products see the weights as they are.
    pub(super) refresh: Plan,
    /// The numbers of empty rows and columns of blocks.
    pub(super) empty: Plan,
    /// Forward and loss, and whether layers pass signals on.
    pub(super) test: Plan,
}

/// What a method records at a site.
type Deed<'a> = dyn Fn(&dyn Method, &mut Recorder<'_>, &Site<'_>) -> Result<()> + 'a;

impl Trainer {
    /// Records the plans afresh.
    pub(super) fn plan(&mut self) -> Result<()> {
        self.plans = self.record()?;
        self.evolution.reshaped = false;
        Ok(())
    }

    fn record(&self) -> Result<Plans> {
        let [rows, last] = self.score_rows();
        let update = self.record_update(rows)?;
        let last_update = if update.is_some() && last < rows { self.record_update(last)? } else { None };
        let births = update.is_some() || self.evolution.grown;
        let each = |method: &dyn Method, rec: &mut Recorder<'_>, site: &Site<'_>| method.each_step(rec, site);
        let train = self.record_step(rows, &each, births, false)?;
        let reported = self.record_step(rows, &each, births, true)?;
        let observe = match self.evolution.method.observe_every() {
            Some(_) => {
                let both = |method: &dyn Method, rec: &mut Recorder<'_>, site: &Site<'_>| {
                    method.observe(rec, site)?;
                    method.each_step(rec, site)
                };
                Some(self.record_step(rows, &both, births, true)?)
            }
            None => None,
        };
        let refresh = record_refresh(&self.gpu, &self.model)?;
        let test = record_test(&self.gpu, &self.model, &*self.objective, &self.batch.room)?;
        let empty = self.record_empty()?;
        Ok(Plans { train, reported, observe, update, last_update, refresh, empty, test })
    }

    /// Records an update at each sparse layer, if the method has any, with growth scored by so many rows. Where it follows a
    /// step that has been trained, the rows have been counted.
    fn record_update(&self, rows: usize) -> Result<Option<Plan>> {
        let mut rec = Recorder::new(&self.gpu);
        let counted = self.settings.method.updates.replace_steps();
        // Where gradients are scaled, blocks are exchanged once it is known whether all are finite.
        let later = self.batch.room.step.scale().map(|_| RefCell::new(Vec::new()));
        let update: &Deed<'_> =
            &|method, rec, site| method.update(rec, &Site { later: later.as_ref(), ..*site });
        if !self.record_passes(&mut rec, rows, update, counted, false)? {
            return Ok(None);
        }
        self.record_scaling(&mut rec, false)?;
        later
            .iter()
            .try_for_each(|later| later.borrow().iter().try_for_each(|exchange| exchange.record(&mut rec)))?;
        rec.finish().map(Some)
    }

    /// Records a training step with what the method does at each sparse layer. `births` is whether the optimizer heeds them,
    /// `scanned` whether anything that is not finite is looked for.
    fn record_step(&self, rows: usize, deed: &Deed<'_>, births: bool, scanned: bool) -> Result<Plan> {
        let mut rec = Recorder::new(&self.gpu);
        self.record_passes(&mut rec, rows, deed, true, scanned)?;
        self.record_scaling(&mut rec, true)?;
        for span in self.model.store().spans() {
            let workspace = span.param.and_then(|param| self.evolution.workspaces[param.index()].as_ref());
            let born = workspace.filter(|_| births).map(Workspace::born);
            self.optimizer.record(&mut rec, &Update { span, born, step: &self.batch.room.step })?;
        }
        rec.finish()
    }

    /// Records whether the step counts, where gradients are scaled. `moves` is whether the optimizer moves weights if it does.
    fn record_scaling(&self, rec: &mut Recorder<'_>, moves: bool) -> Result<()> {
        let (Some(half), Some(scale)) = (self.settings.precision.half(), self.batch.room.step.scale()) else {
            return Ok(());
        };
        // Whatever is not finite in the gradient of a layer's output is so in that of its bias, the column sums. Sums of f16
        // are far from the end of f32, so the gradient of a weight is finite where those of outputs are. Where a layer has no
        // bias, that of the weight is looked at.
        for param in self.model.store().iter().filter(|param| !param.is_biased()) {
            ops::watch_gradient(rec, param.grads(), scale)?;
        }
        ops::decide_scale(rec, scale, half.patience, moves)
    }

    /// Records forward pass, loss, backward pass and scan, with a deed at each sparse layer; says whether that was anything.
    fn record_passes(
        &self,
        rec: &mut Recorder<'_>,
        rows: usize,
        deed: &Deed<'_>,
        counted: bool,
        scanned: bool,
    ) -> Result<bool> {
        let Room { step, status, .. } = &self.batch.room;
        let (model, method) = (&self.model, &*self.evolution.method);
        model.refresh(rec, Some(step))?;
        model.forward(rec, Some(step))?;
        self.batch.room.loss(rec, model, &*self.objective, counted)?;
        let mut deeds = 0;
        model.backward_with(rec, Some(step), &mut |rec, ready| {
            let before = rec.len();
            if let Some(site) = self.site(ready, rows) {
                deed(method, rec, &site)?;
            }
            deeds += rec.len() - before;
            Ok(())
        })?;
        if scanned {
            model.scan(rec, status)?;
        }
        Ok(deeds > 0)
    }

    /// The rows that growth is scored by: of a whole batch, and of the last one of an epoch, without what pads it. Where
    /// updates come with the last batch alone, there is nothing else.
    fn score_rows(&self) -> [usize; 2] {
        let (method, batch) = (&self.settings.method, self.settings.batch);
        let labels = self.batch.labels_per_row();
        let rows = method.score_rows(batch * labels, self.scorable_rows());
        let last = rows.min(((self.data.train.rows() - 1) % batch + 1) * labels);
        if method.updates.replace_steps() { [rows, last] } else { [last; 2] }
    }

    /// As many rows of the widest layer as fit a binding, since a score-only product cannot be cut: a block's score is a
    /// reduction of finished sums.
    fn scorable_rows(&self) -> usize {
        let widest = self.model.store().sparse().flat_map(Param::sides).max().unwrap_or(1);
        let row = widest as u64 * self.settings.precision.dtype().size();
        (self.gpu.limits().max_storage_buffer_binding_size / row) as usize
    }

    /// A layer as the method sees it, if it is sparse.
    fn site<'a>(&'a self, ready: GradientReady<'a>, score_rows: usize) -> Option<Site<'a>> {
        let signals: Signals<'a> = ready.signals?;
        let (param, at) = (self.model.store().get(ready.param), ready.param.index());
        Some(Site {
            param: ready.param,
            stream: param.stream(),
            weight: param.weight().sparse()?,
            grad: param.grads(),
            state: param.state(),
            signals,
            fan_in: param.fan_in(),
            step: &self.batch.room.step,
            score_rows,
            key: self.evolution.keys[at],
            regrowth: Key::new(self.settings.model.seed(), Stream::Regrowth(param.stream())),
            workspace: self.evolution.workspaces[at].as_ref()?,
            later: None,
        })
    }
}

/// Records that products see the weights as they are, outside of a step.
pub(super) fn record_refresh(gpu: &Gpu, model: &Network) -> Result<Plan> {
    let mut rec = Recorder::new(gpu);
    model.refresh(&mut rec, None)?;
    rec.finish()
}

/// Records forward pass and loss, and the scans of what comes out of layers.
fn record_test(gpu: &Gpu, model: &Network, objective: &dyn Objective, room: &Room) -> Result<Plan> {
    let mut rec = Recorder::new(gpu);
    model.forward(&mut rec, None)?;
    room.loss(&mut rec, model, objective, true)?;
    model.scan(&mut rec, &room.status)?;
    for (word, (_, activation)) in model.activations().into_iter().enumerate() {
        ops::activity(&mut rec, activation, &room.activity, word)?;
    }
    rec.finish()
}

impl Plans {
    /// Those that there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &Plan> {
        let Self { train, reported, observe, update, last_update, refresh, empty, test } = self;
        let optional = [observe, update, last_update].into_iter().flatten();
        [train, reported, refresh, empty, test].into_iter().chain(optional)
    }

    /// Plans that do nothing, until the real ones are recorded.
    pub(super) fn empty(gpu: &Gpu) -> Result<Self> {
        let nothing = || Recorder::new(gpu).finish();
        Ok(Self {
            train: nothing()?,
            reported: nothing()?,
            observe: None,
            update: None,
            last_update: None,
            refresh: nothing()?,
            empty: nothing()?,
            test: nothing()?,
        })
    }
}
