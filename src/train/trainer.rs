//! The training loop.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::builder::Parts;
use super::evolution::Evolution;
use super::health::Signs;
use super::plans::Plans;
use super::program::{Exchange, Program};
use super::{EpochRecord, KernelRecord, LogRecord, StartRecord, fit};
use super::{Evaluation, Event, Flow, Footprint, Objective, Position, RunFolder, Settings, Summary};
use crate::data::{Dataset, Fingerprint, Targets, epoch_order};
use crate::gpu::{Gpu, Pending, Plan, Submission};
use crate::graph::Network;
use crate::methods::{self, Clock, Method, Phase};
use crate::nn::ModelConfig;
use crate::ops::StepValues;
use crate::optim::Optimizer;
use crate::tune::Tuner;
use crate::{Error, Result};

/// Steps that may be in flight. Enough to keep a device busy while the host writes the next batch, and few enough that
/// progress is up to date and an interrupt is heard.
pub(super) const IN_FLIGHT: usize = 4;

/// Reports of progress within an epoch, or thereabouts. Each scans what a step has made.
const REPORTS: u64 = 20;

/// A run: network, optimizer, data, and the plans that train and test.
#[derive(Debug)]
pub struct Trainer {
    pub(super) gpu: Gpu,
    pub(super) settings: Settings,
    pub(super) data: Dataset,
    pub(super) fingerprint: Fingerprint,
    pub(super) model: Network,
    pub(super) objective: Box<dyn Objective>,
    pub(super) optimizer: Box<dyn Optimizer>,
    pub(super) exchange: Option<Box<dyn Exchange>>,
    pub(super) batch: Batch,
    pub(super) plans: Plans,
    pub(super) evolution: Evolution,
    pub(super) position: Position,
    /// Findings of the last test besides its loss and accuracy.
    pub(super) signs: Signs,
    /// What runs for each product of a step, where it was measured.
    pub(super) tuned: Vec<KernelRecord>,
    pub(super) tuner: Option<Tuner>,
}

/// A report of progress on its way back from the device.
struct Report {
    totals: Pending<f32>,
    status: Pending<u32>,
    /// Labels of the epoch until then.
    labels: usize,
    step: u64,
}

impl Trainer {
    /// A run from its beginning.
    ///
    /// # Errors
    /// [`Error::Config`] where settings make no sense, [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, settings: Settings, data: Dataset) -> Result<Self> {
        let parts = settings.parts();
        Self::of_parts(gpu, settings, data, parts)
    }

    /// A run from its beginning with a method of the caller's own in place of the settings' method.
    ///
    /// # Errors
    /// As [`Trainer::new`], and where the method [refuses](Method::accepts) the network.
    pub fn with_method(
        gpu: &Gpu,
        settings: Settings,
        data: Dataset,
        method: Box<dyn Method>,
    ) -> Result<Self> {
        let parts = Parts { method, ..settings.parts() };
        Self::of_parts(gpu, settings, data, parts)
    }

    /// A run of parts, from its beginning.
    pub(super) fn of_parts(gpu: &Gpu, settings: Settings, data: Dataset, parts: Parts) -> Result<Self> {
        settings.validate()?;
        fit::expect_data(&settings.model, &data)?;
        let method = &*parts.method;
        methods::expect_method(method, &settings.model.graph(1, settings.precision)?)?;
        Footprint::of_run(&settings, method, &*parts.optimizer)?.expect_room(gpu)?;
        let stored = settings.model.sparsity().map(|sparsity| method.stored_sparsity(sparsity));
        let topologies = settings.model.topologies(stored)?;
        let model = settings.model.build(
            gpu,
            settings.pass_rows(),
            &topologies,
            method.fan_in(),
            settings.precision,
        )?;
        if matches!(settings.model, ModelConfig::Composed(_)) {
            // Nodes may be a program's own.
            model.expect_gradients(gpu)?;
        }
        let position = Position { step: 0, replaced: 0, loss_sum: 0.0, hits: 0.0 };
        let mut trainer = Self::assemble(gpu, settings, data, model, position, parts)?;
        let epochs = trainer.clock().steps.div_ceil(trainer.clock().per_epoch);
        trainer.mutate(Phase::Start { epochs })?;
        Ok(trainer)
    }

    /// A run at this position, with an optimizer that remembers nothing and no plans yet.
    pub(super) fn assemble(
        gpu: &Gpu,
        settings: Settings,
        data: Dataset,
        mut model: Network,
        position: Position,
        parts: Parts,
    ) -> Result<Self> {
        let Parts { objective, optimizer, method, exchange } = parts;
        let shapes = model.graph().output_shapes().into_iter().map(|(_, shape)| shape.to_vec());
        let [wanted, found] = [objective.targets(&shapes.collect::<Vec<_>>())?, data.targets()];
        if wanted != found
            && !matches!((wanted, found), (Targets::Classes(most), Targets::Classes(some)) if some <= most)
        {
            let reason = format!(
                "has {found:?} for targets, and {} of this network wants {wanted:?}",
                objective.name()
            );
            return Err(Error::Config { option: "data", reason });
        }
        if settings.pass_rows() < settings.batch && method.measures_gradients() {
            let reason =
                format!("{} measures the gradients of whole steps, which are accumulated", method.name());
            return Err(Error::Config { option: "micro-batch", reason });
        }
        model.allocate_state(gpu, optimizer.state_names())?;
        let batch = Batch::new(gpu, &model, &*objective, &settings)?;
        gpu.write(&batch.buffers.totals, &[position.loss_sum, position.hits])?;
        let evolution = Evolution::new(gpu, method, &model)?;
        let plans = Plans::empty(gpu)?;
        Ok(Self {
            gpu: gpu.clone(),
            settings,
            fingerprint: Fingerprint::of(&data),
            data,
            model,
            objective,
            optimizer,
            exchange,
            batch,
            plans,
            evolution,
            position,
            signs: Signs::default(),
            tuned: Vec::new(),
            tuner: None,
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The network.
    pub fn model(&self) -> &Network {
        &self.model
    }

    /// What determines the run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A training step, with the batch that was loaded last: what is replayed for each.
    pub fn step_plan(&self) -> &Plan {
        self.plans.train.first()
    }

    /// A step that changes topologies, if the method has any, with the batch that was loaded last.
    pub fn update_plan(&self) -> Option<&Plan> {
        self.plans.update.as_ref().map(Program::first)
    }

    /// A training step in which the method looks on, if it does.
    pub fn observe_plan(&self) -> Option<&Plan> {
        self.plans.observe.as_ref().map(Program::first)
    }

    /// The kernels of a step, in order.
    pub fn step_kernels(&self) -> impl Iterator<Item = &str> {
        self.plans.train.plans().flat_map(Plan::labels)
    }

    /// Trains to the end, or until the watcher stops it. With a folder, a checkpoint is kept after every epoch and when
    /// stopped.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the layer; [`Error::Io`] if a checkpoint cannot be written; [`Error::DeviceLost`]. The
    /// last checkpoint that was written stays whole.
    pub fn run(
        &mut self,
        folder: Option<&RunFolder>,
        watch: &mut dyn FnMut(&Event) -> Flow,
    ) -> Result<Summary> {
        let started = Instant::now();
        let rows = self.data.train.rows();
        let per_epoch = self.settings.steps_per_epoch(rows);
        let total = self.settings.total_steps(rows);
        let (mut trained, mut steps_here, mut waits) = (Duration::ZERO, 0, 0);
        let mut train = Evaluation { loss: f64::NAN, accuracy: f64::NAN };
        let mut test = None;
        let mut flow = Flow::Continue;
        for notice in self.settings.model.notices() {
            watch(&Event::Notice(notice));
        }
        if let (Some(folder), 0) = (folder, self.position.step) {
            folder.log(&LogRecord::Start(StartRecord { step: 0, layers: self.layer_records()? }))?;
        }
        if let Some(folder) = folder {
            self.log_kernels(folder)?;
        }
        let mut told = Vec::new();
        if self.plans.update.is_some() {
            self.tell(self.evolution.idle_layers(&self.model), &mut told, watch);
        }

        while self.position.step < total && flow == Flow::Continue {
            let epoch = self.position.step / per_epoch;
            let until = total.min((epoch + 1) * per_epoch);
            self.compile(watch)?;
            let (began, at, waited) = (Instant::now(), self.position.step, self.gpu.blocking_waits());
            let mutating = self.evolution.mutating;
            flow = self.train_until(epoch, until, watch)?;
            waits += self.gpu.blocking_waits() - waited;
            train = self.collect()?;
            let elapsed = began.elapsed().saturating_sub(self.evolution.mutating - mutating);
            let done = self.position.step - at;
            (trained, steps_here) = (trained + elapsed, steps_here + done);

            if self.position.step == until {
                let epochs = total.div_ceil(per_epoch);
                self.mutate(Phase::EpochEnd { epoch, epochs, train_loss: train.loss })?;
                if self.tuner.as_ref().is_some_and(|tuner| tuner.wanted() > 0 && !tuner.is_spent()) {
                    self.tune_new(watch)?;
                    folder.map_or(Ok(()), |folder| self.log_kernels(folder))?;
                }
                let evaluation = self.evaluate()?;
                test = Some(evaluation);
                let (loads, scaling) = (self.take_loads()?, self.scaling()?);
                if until == total {
                    self.signs.notices.extend(self.judge(train, evaluation));
                }
                self.tell(self.signs.notices.clone(), &mut told, watch);
                let event = Event::Epoch {
                    epoch,
                    step: self.position.step,
                    train,
                    test: evaluation,
                    steps_per_second: done as f64 / elapsed.as_secs_f64(),
                    loads: loads.clone(),
                    scaling,
                };
                // The next epoch's totals start from nothing; so does a run resumed from here. An epoch that the run's end cuts
                // short is not over: it goes on where the run is extended.
                if until.is_multiple_of(per_epoch) {
                    (self.position.loss_sum, self.position.hits) = (0.0, 0.0);
                    self.gpu.write(&self.batch.buffers.totals, &[0.0f32; 2])?;
                }
                let layers = if folder.is_some() { self.layer_records()? } else { Vec::new() };
                self.evolution.forget_churn(&self.gpu)?;
                if let Some(folder) = folder {
                    // Before the checkpoint: a run that is killed in between is resumed before this epoch and logs it again.
                    let step = self.position.step;
                    folder.log(&LogRecord::Epoch(EpochRecord {
                        epoch,
                        step,
                        train,
                        test: evaluation,
                        layers,
                        loads,
                        scaling,
                        notices: self.signs.notices.clone(),
                    }))?;
                    folder.save(&self.checkpoint()?)?;
                }
                if watch(&event) == Flow::Stop {
                    flow = Flow::Stop;
                }
            } else {
                test = Some(self.evaluate()?);
                if let Some(folder) = folder {
                    folder.save(&self.checkpoint()?)?;
                }
            }
        }

        let test = match test {
            Some(test) => test,
            None => self.evaluate()?,
        };
        let mut notices = self.signs.notices.clone();
        notices.extend(
            self.judge(train, test).into_iter().filter(|notice| !self.signs.notices.contains(notice)),
        );
        self.tell(notices.clone(), &mut told, watch);
        Ok(Summary {
            finished: self.position.step >= total,
            test_accuracy: test.accuracy,
            test_loss: test.loss,
            train_loss: train.loss,
            steps: self.position.step,
            seconds: started.elapsed().as_secs_f64(),
            step_ms: trained.as_secs_f64() * 1e3 / steps_here as f64,
            operating_ms: self.evolution.mutating.as_secs_f64() * 1e3,
            params_present: self.model.params_present(),
            params_dense: self.model.graph().params_dense(),
            bytes: self.gpu.bytes(),
            peak_bytes: self.gpu.peak_bytes(),
            blocking_waits: waits,
            scaling: self.scaling()?,
            empty_lines: self.signs.empty.clone(),
            notices,
        })
    }

    /// Sends each notice to the watcher, once per process.
    fn tell(&self, notices: Vec<String>, told: &mut Vec<String>, watch: &mut dyn FnMut(&Event) -> Flow) {
        for notice in notices {
            if !told.contains(&notice) {
                watch(&Event::Notice(notice.clone()));
                told.push(notice);
            }
        }
    }

    /// Submits steps of one epoch. The host never waits for a result here: reports arrive when they do.
    fn train_until(&mut self, epoch: u64, until: u64, watch: &mut dyn FnMut(&Event) -> Flow) -> Result<Flow> {
        let rows = self.data.train.rows();
        let per_epoch = self.settings.steps_per_epoch(rows);
        let total = self.settings.total_steps(rows);
        let order = epoch_order(rows, self.settings.model.seed(), epoch);
        let every = (per_epoch / REPORTS).max(1);
        let mut in_flight = VecDeque::new();
        let mut reports: VecDeque<Report> = VecDeque::new();
        let (mut loss, mut accuracy) = (None, None);

        while self.position.step < until {
            let index = self.position.step;
            let first = (index % per_epoch) as usize * self.settings.batch;
            let members = &order[first..rows.min(first + self.settings.batch)];
            let rate = self.settings.schedule.at(self.settings.learning_rate, index, total);
            let share = self.evolution.method.share(self.clock());
            self.prepare(share)?;
            let replaces = self.replaces_step(share);
            let moves = self.position.moves();
            let values = StepValues {
                index: index as u32,
                learning_rate: self.evolution.method.learning_rate(rate, self.clock()),
                row_scale: 1.0 / (members.len() * self.batch.labels_per_row()) as f32,
                corrections: self.optimizer.corrections(moves),
                moves: moves + u32::from(!replaces),
            };
            let reported = (index + 1).is_multiple_of(every) || index + 1 == until;
            in_flight.push_back(self.step(members, values, share, reported)?);
            self.position.step += 1;
            self.position.replaced += u64::from(replaces);
            if in_flight.len() > IN_FLIGHT
                && let Some(oldest) = in_flight.pop_front()
            {
                self.gpu.pace(oldest)?;
            }

            if self.position.step.is_multiple_of(every) {
                reports.push_back(Report {
                    totals: self.gpu.read(&self.batch.buffers.totals)?,
                    status: self.gpu.read(&self.batch.buffers.status)?,
                    labels: (first + members.len()) * self.batch.labels_per_row(),
                    step: index,
                });
            }
            while let Some(report) = reports.front_mut() {
                if !(report.totals.is_ready()? && report.status.is_ready()?) {
                    break;
                }
                if let Some(report) = reports.pop_front() {
                    self.check(&report.status.wait()?, report.step)?;
                    let totals = report.totals.wait()?;
                    loss = Some(f64::from(totals[0]) / report.labels as f64);
                    accuracy =
                        self.objective.counts_hits().then(|| f64::from(totals[1]) / report.labels as f64);
                }
            }
            let step = self.position.step - epoch * per_epoch;
            if watch(&Event::Progress { epoch, step, steps: per_epoch, loss, accuracy }) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }

    /// Submits one step: passes that accumulate gradients, where there are several, and then the last, with what follows it.
    fn step(
        &mut self,
        members: &[u32],
        values: StepValues,
        share: Option<f64>,
        reported: bool,
    ) -> Result<Submission> {
        let mut passes: Vec<_> = members.chunks(self.settings.pass_rows()).collect();
        let last = passes.pop().unwrap_or_default();
        for (number, rows) in passes.iter().enumerate() {
            self.batch.load(&self.gpu, &self.data.train, rows, values)?;
            let plan = self.plans.accumulate.as_ref().map(|accumulate| accumulate.pass(number));
            plan.map_or(Ok(()), |plan| self.gpu.run(plan).map(|_| ()))?;
        }
        self.batch.load(&self.gpu, &self.data.train, last, values)?;
        let mut exchange = self.exchange.take();
        let program = self.program_of(share, reported, !passes.is_empty());
        let done = program.run(&self.gpu, exchange.as_deref_mut()).and_then(|done| {
            match (&self.plans.update, share, self.evolution.updates_replace_steps()) {
                (Some(update), Some(_), false) => update.run(&self.gpu, exchange.as_deref_mut()),
                _ => Ok(done),
            }
        });
        self.exchange = exchange;
        done
    }

    /// Whether an update replaces a step with this share of blocks to exchange.
    fn replaces_step(&self, share: Option<f64>) -> bool {
        share.is_some() && self.plans.update.is_some() && self.evolution.updates_replace_steps()
    }

    /// Where the run is.
    pub(super) fn clock(&self) -> Clock {
        let rows = self.data.train.rows();
        Clock {
            step: self.position.step,
            per_epoch: self.settings.steps_per_epoch(rows),
            steps: self.settings.total_steps(rows),
            learning_rate: self.settings.learning_rate,
        }
    }

    /// Prepares a step with this share of blocks to exchange: writes `k` for a recorded update, or lets the method change topologies.
    fn prepare(&mut self, share: Option<f64>) -> Result<()> {
        let Some(share) = share else { return Ok(()) };
        if self.plans.update.is_some() {
            return self.evolution.want(&self.gpu, &self.model, share);
        }
        let Some(schedule) = self.evolution.method.updates() else { return Ok(()) };
        let [update, updates] = schedule.counts(self.clock());
        self.mutate(Phase::Update { update, updates })
    }

    /// What the device does in a step, of which this share of blocks is exchanged, if any.
    /// The device looks for what is not finite where the step is `reported`.
    fn program_of(&self, share: Option<f64>, reported: bool, accumulated: bool) -> &Program {
        let Plans { train, reported: scanned, observe, update, last_update, accumulate, .. } = &self.plans;
        let Clock { step, per_epoch, .. } = self.clock();
        let update =
            last_update.as_ref().filter(|_| (step + 1).is_multiple_of(per_epoch)).or(update.as_ref());
        match (update, share, observe, self.evolution.method.observe_every()) {
            (Some(update), ..) if self.replaces_step(share) => update,
            (_, _, Some(observe), Some(every)) if self.position.step.is_multiple_of(every) => observe,
            _ => match accumulate.as_ref().filter(|_| accumulated) {
                Some(accumulate) => accumulate.last(reported),
                None if reported => scanned,
                None => train,
            },
        }
    }

    /// The training rows of a step within an epoch.
    pub(super) fn members(&self, step: u64, epoch: u64) -> Vec<u32> {
        let rows = self.data.train.rows();
        let order = epoch_order(rows, self.settings.model.seed(), epoch);
        let first = step as usize * self.settings.batch;
        order[first..rows.min(first + self.settings.batch)].to_vec()
    }

    /// Waits for the totals of the current epoch.
    fn collect(&mut self) -> Result<Evaluation> {
        let totals = self.gpu.read::<f32>(&self.batch.buffers.totals)?.wait()?;
        let status = self.gpu.read::<u32>(&self.batch.buffers.status)?.wait()?;
        self.check(&status, self.position.step.saturating_sub(1))?;
        (self.position.loss_sum, self.position.hits) = (totals[0], totals[1]);
        let rows = self.data.train.rows();
        let per_epoch = self.settings.steps_per_epoch(rows);
        let steps = (self.position.step.max(1) - 1) % per_epoch + 1;
        let seen = ((steps as usize * self.settings.batch).min(rows) * self.batch.labels_per_row()) as f64;
        Ok(self.evaluation(&totals, seen))
    }

    /// Names the first layer, from the input on, in which something is not finite.
    pub(super) fn check(&self, status: &[u32], step: u64) -> Result<()> {
        let layer = |index: usize| self.model.stages()[index].clone();
        if let Some(index) = status.iter().position(|word| word & 1 != 0) {
            return Err(Error::NotFinite { step, layer: layer(index), quantity: "the output" });
        }
        if let Some(index) = status.iter().rposition(|word| word & 2 != 0) {
            return Err(Error::NotFinite { step, layer: layer(index), quantity: "the gradient" });
        }
        Ok(())
    }
}
