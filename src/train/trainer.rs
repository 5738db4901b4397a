//! The training loop.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use half::f16;
use half::slice::HalfFloatSliceExt as _;

use super::report::number_or_nan;
use super::{Checkpoint, OptimizerState, Position, RunFolder, Settings};
use crate::data::{Dataset, Input, Rows, epoch_order};
use crate::gpu::{Bytes, DType, Gpu, Pending, Plan, Tensor, Verdict, Workload};
use crate::methods::{Clock, Method, Moment, Static};
use crate::nn::{Load, Network};
use crate::ops::StepValues;
use crate::reference::{LossScaleState, bits};
use crate::sparse::Topology;
use crate::tune::{Progress, Tuner};
use crate::{Error, Result};

use super::evolution::Evolution;
use super::plans::{Plans, Room};
use super::report::{
    self, EpochRecord, KernelRecord, KernelsRecord, LayerRecord, LoadRecord, LogRecord, StartRecord,
};

/// Steps that may be in flight. Enough to keep a device busy while the host writes the next batch, and few enough that
/// progress is up to date and an interrupt is heard.
const IN_FLIGHT: usize = 4;

/// Reports of progress within an epoch, or thereabouts. Each scans what a step has made.
const REPORTS: u64 = 20;

/// What a run tells whoever watches it.
#[derive(Debug, Clone)]
pub enum Event {
    /// A kernel is about to be measured.
    Tuning {
        /// Kernels that are done.
        done: usize,
        /// Kernels that there are to measure.
        of: usize,
        /// The one that is next.
        shape: String,
    },
    /// Something that is no error, but should be known.
    Notice(String),
    /// Steps were done.
    Progress {
        /// The epoch, from 0.
        epoch: u64,
        /// Steps of this epoch that are submitted.
        step: u64,
        /// Steps of this epoch.
        steps: u64,
        /// Mean loss over the epoch's rows, as far as it has come back from the device.
        loss: Option<f64>,
        /// Training accuracy over the same rows.
        accuracy: Option<f64>,
    },
    /// An epoch is over and the network was tested.
    Epoch {
        /// The epoch, from 0.
        epoch: u64,
        /// Steps done in the whole run.
        step: u64,
        /// Over the epoch's rows.
        train: Evaluation,
        /// Over the test rows.
        test: Evaluation,
        /// Steps a second in this epoch, without the test.
        steps_per_second: f64,
        /// What passed through each mixture of experts in this epoch.
        loads: Vec<LoadRecord>,
        /// How gradients are scaled, where they are.
        scaling: Option<Scaling>,
    },
}

/// What the watcher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop after this step, keeping what has been done.
    Stop,
}

/// Loss and accuracy over some rows.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// The share of rows whose largest logit is their label's.
    #[serde(deserialize_with = "number_or_nan")]
    pub accuracy: f64,
}

/// How the gradients of a run in half precision are scaled.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scaling {
    /// What they are multiplied by.
    pub loss_scale: f32,
    /// Steps of the whole run that changed nothing, because a gradient was too large for f16.
    pub skipped: u32,
}

/// How a run went.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Summary {
    /// Whether it came to its end, rather than being stopped.
    pub finished: bool,
    /// Accuracy on the test rows.
    pub test_accuracy: f64,
    /// Mean loss over the test rows.
    pub test_loss: f64,
    /// Mean loss over the rows of the last epoch that was trained.
    pub train_loss: f64,
    /// Steps done in the whole run.
    pub steps: u64,
    /// Seconds of training by this process, tests included.
    pub seconds: f64,
    /// Milliseconds of a step, tests not included.
    pub step_ms: f64,
    /// Milliseconds, all together, in which the method had the network to itself: before the first step, between steps or at
    /// the end of an epoch. An update that is part of a step is not among them, and of one between two steps it is what the host
    /// did.
    pub operating_ms: f64,
    /// Stored parameters.
    pub params_present: usize,
    /// What they would be with every block present.
    pub params_dense: usize,
    /// Bytes on the device, by class.
    pub bytes: Bytes,
    /// The most bytes there were at one time.
    pub peak_bytes: u64,
    /// Times the host waited for the device between two tests.
    pub blocking_waits: u64,
    /// How gradients were scaled, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
}

/// A run: network, optimizer, data, and the plans that train and test.
#[derive(Debug)]
pub struct Trainer {
    pub(super) gpu: Gpu,
    pub(super) settings: Settings,
    pub(super) data: Dataset,
    pub(super) model: Box<dyn Network>,
    pub(super) optimizer: OptimizerState,
    pub(super) batch: Batch,
    pub(super) plans: Plans,
    pub(super) evolution: Evolution,
    pub(super) position: Position,
    /// What runs for each product of a step, where it was measured.
    tuned: Vec<KernelRecord>,
    tuner: Option<Tuner>,
}

/// A batch, on both sides.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) room: Room,
    /// How many rows it has room for.
    rows: usize,
    /// Where the network takes it in.
    input: Tensor,
    /// The host's side, filled and written again and again.
    host_input: Input,
    host_labels: Vec<u32>,
    /// The host's side of features in half precision.
    halves: Vec<f16>,
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
        let method = settings.build_method();
        Self::with_method(gpu, settings, data, method)
    }

    /// The same with a method of the caller's own; that of the settings is passed by, but its schedule holds.
    ///
    /// # Errors
    /// As [`Trainer::new`], and what the method has to object.
    pub fn with_method(
        gpu: &Gpu,
        settings: Settings,
        data: Dataset,
        method: Box<dyn Method>,
    ) -> Result<Self> {
        settings.validate()?;
        let stored = settings.model.sparsity().map(|sparsity| method.stored_sparsity(sparsity));
        let topologies = settings.model.topologies(stored)?;
        let model =
            settings.model.build(gpu, settings.batch, &topologies, method.fan_in(), settings.precision)?;
        let optimizer = OptimizerState::new(
            gpu,
            settings.optimizer,
            settings.momentum,
            settings.weight_decay,
            &model.parameters(),
        )?;
        let position = Position { step: 0, loss_sum: 0.0, hits: 0.0 };
        let mut trainer = Self::assemble(gpu, settings, data, model, optimizer, position, method)?;
        let epochs = trainer.clock().steps.div_ceil(trainer.clock().per_epoch);
        trainer.operate(Moment::Start { epochs })?;
        Ok(trainer)
    }

    /// A run from where a checkpoint left it. It goes on to the same bits as if it had never stopped,
    /// save where the values of a layer are larger than a binding and its pattern has changed: sums then follow the order of
    /// the slots, which a checkpoint does not keep.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the checkpoint is not one of these settings.
    pub fn resume(gpu: &Gpu, checkpoint: &Checkpoint, path: &Path, data: Dataset) -> Result<Self> {
        let method = checkpoint.settings.build_method();
        Self::resume_with_method(gpu, checkpoint, path, data, method)
    }

    /// The same for a run that was begun [with a method](Trainer::with_method) of the caller's own: a checkpoint holds what it
    /// remembers, and not the method.
    ///
    /// # Errors
    /// As [`Trainer::resume`], and what the method has to object.
    pub fn resume_with_method(
        gpu: &Gpu,
        checkpoint: &Checkpoint,
        path: &Path,
        data: Dataset,
        method: Box<dyn Method>,
    ) -> Result<Self> {
        let settings = checkpoint.settings.clone();
        settings.validate()?;
        let bad = |error: Error| Error::Checkpoint { path: path.to_owned(), reason: error.to_string() };
        settings.model.expect_data(&data).map_err(bad)?;
        let model = checkpoint.network(gpu, path, settings.batch)?;
        let optimizer = OptimizerState::new(
            gpu,
            settings.optimizer,
            settings.momentum,
            settings.weight_decay,
            &model.parameters(),
        )?;
        for (parameter, parts) in model.parameters().iter().zip(optimizer.parts()) {
            for (part, tensor) in parts {
                // Slots are in row order in a network that was just read, as they are in the file.
                let name = format!("optimizer.{}.{part}", parameter.name);
                gpu.write(tensor, checkpoint.get(path, &name, tensor.shape())?)?;
            }
        }
        let position = checkpoint.position;
        let mut trainer = Self::assemble(gpu, settings, data, model, optimizer, position, method)?;
        trainer.recall(checkpoint, path)?;
        trainer.plan()?;
        Ok(trainer)
    }

    fn assemble(
        gpu: &Gpu,
        settings: Settings,
        data: Dataset,
        model: Box<dyn Network>,
        optimizer: OptimizerState,
        position: Position,
        method: Box<dyn Method>,
    ) -> Result<Self> {
        let batch = Batch {
            room: Room::new(gpu, &*model, settings.precision.half())?,
            rows: settings.batch,
            input: model.input().clone(),
            host_input: match model.input().dtype() {
                DType::U32 => Input::Ids(vec![0; model.input().len()]),
                _ => Input::Floats(vec![0.0; model.input().len()]),
            },
            host_labels: vec![0; model.logits().shape()[0]],
            halves: match model.input().dtype() {
                DType::F16 => vec![f16::ZERO; model.input().len()],
                _ => Vec::new(),
            },
        };
        gpu.write(&batch.room.totals, &[position.loss_sum, position.hits])?;
        let evolution = Evolution::new(gpu, method, &settings.model, &*model)?;
        let plans = Plans::empty(gpu)?;
        Ok(Self {
            gpu: gpu.clone(),
            settings,
            data,
            model,
            optimizer,
            batch,
            plans,
            evolution,
            position,
            tuned: Vec::new(),
            tuner: None,
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The network.
    pub fn model(&self) -> &dyn Network {
        &*self.model
    }

    /// What determines the run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A training step, with the batch that was loaded last: what is replayed for each.
    pub fn step_plan(&self) -> &Plan {
        &self.plans.train
    }

    /// A step that changes topologies, if the method has any, with the batch that was loaded last.
    pub fn update_plan(&self) -> Option<&Plan> {
        self.plans.update.as_ref()
    }

    /// Measures the variants of the products that this run has, as far as nothing is known about them yet, and records the plans
    /// anew with what is fastest; and again at the end of an epoch where patterns have become others, as long as the tuner has
    /// time. The results of the run stay the same to the last bit. Says where a dense product would be faster than a sparse one.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), and as recording.
    pub fn tune(&mut self, tuner: Tuner, watch: &mut dyn FnMut(&Event) -> Flow) -> Result<()> {
        self.tuner = Some(tuner);
        self.tune_new(watch)?;
        if let Some(left @ 1..) = self.tuner.as_ref().map(Tuner::wanted) {
            watch(&Event::Notice(format!("{left} kernels are left for the next run to measure")));
        }
        Ok(())
    }

    /// Measures what is wanted now.
    fn tune_new(&mut self, watch: &mut dyn FnMut(&Event) -> Flow) -> Result<()> {
        let Some(tuner) = &mut self.tuner else { return Ok(()) };
        let measured = tuner.measure(&mut |Progress { done, of, shape }| {
            watch(&Event::Tuning { done, of, shape: shape.to_owned() }) == Flow::Continue
        })?;
        let mut notices = tuner.take_notices();
        if measured > 0 {
            self.plan()?;
        }
        let records = kernel_records(&self.gpu);
        for record in records.iter().filter(|record| !self.tuned.contains(record)) {
            if let Some(versus_dense) = record.versus_dense.filter(|_| record.dense_is_faster()) {
                let shape = &record.shape;
                notices.push(format!("{shape}: a dense product would be {versus_dense:.2} times as fast"));
            }
        }
        self.tuned = records;
        notices.into_iter().for_each(|notice| {
            watch(&Event::Notice(notice));
        });
        Ok(())
    }

    /// Adds to the log what was chosen, if anything was.
    fn log_kernels(&self, folder: &RunFolder) -> Result<()> {
        if self.tuned.is_empty() {
            return Ok(());
        }
        let (step, adapter) = (self.position.step, self.gpu.info().name.clone());
        folder.log(&LogRecord::Kernels(KernelsRecord { step, adapter, kernels: self.tuned.clone() }))
    }

    /// The kernels of a step, in order.
    pub fn step_kernels(&self) -> impl Iterator<Item = &str> {
        self.plans.train.labels()
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
        if let (Some(folder), 0) = (folder, self.position.step) {
            folder.log(&LogRecord::Start(StartRecord { step: 0, layers: self.layer_records()? }))?;
        }
        if let Some(folder) = folder {
            self.log_kernels(folder)?;
        }

        while self.position.step < total && flow == Flow::Continue {
            let epoch = self.position.step / per_epoch;
            let until = total.min((epoch + 1) * per_epoch);
            let (began, at, waited) = (Instant::now(), self.position.step, self.gpu.blocking_waits());
            flow = self.train_until(epoch, until, watch)?;
            waits += self.gpu.blocking_waits() - waited;
            train = self.collect()?;
            let elapsed = began.elapsed();
            let done = self.position.step - at;
            (trained, steps_here) = (trained + elapsed, steps_here + done);

            if self.position.step == until {
                let epochs = total.div_ceil(per_epoch);
                self.operate(Moment::EpochEnd { epoch, epochs, train_loss: train.loss })?;
                if self.tuner.as_ref().is_some_and(|tuner| tuner.wanted() > 0 && !tuner.is_spent()) {
                    self.tune_new(watch)?;
                    folder.map_or(Ok(()), |folder| self.log_kernels(folder))?;
                }
                let evaluation = self.evaluate()?;
                test = Some(evaluation);
                let (loads, scaling) = (self.take_loads()?, self.scaling()?);
                let event = Event::Epoch {
                    epoch,
                    step: self.position.step,
                    train,
                    test: evaluation,
                    steps_per_second: done as f64 / elapsed.as_secs_f64(),
                    loads: loads.clone(),
                    scaling,
                };
                // The next epoch's totals start from nothing; so does a run resumed from here.
                (self.position.loss_sum, self.position.hits) = (0.0, 0.0);
                self.gpu.write(&self.batch.room.totals, &[0.0f32; 2])?;
                let layers = if folder.is_some() { self.layer_records()? } else { Vec::new() };
                self.evolution.forget_churn(&self.gpu)?;
                if let Some(folder) = folder {
                    folder.save(&self.checkpoint()?)?;
                    let step = self.position.step;
                    folder.log(&LogRecord::Epoch(EpochRecord {
                        epoch,
                        step,
                        train,
                        test: evaluation,
                        layers,
                        loads,
                        scaling,
                    }))?;
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
        Ok(Summary {
            finished: self.position.step >= total,
            test_accuracy: test.accuracy,
            test_loss: test.loss,
            train_loss: train.loss,
            steps: self.position.step,
            seconds: started.elapsed().as_secs_f64(),
            step_ms: trained.as_secs_f64() * 1e3 / (steps_here.max(1) as f64),
            operating_ms: self.evolution.operated.as_secs_f64() * 1e3,
            params_present: self.model.params_present(),
            params_dense: self.settings.model.params_dense(),
            bytes: self.gpu.bytes(),
            peak_bytes: self.gpu.peak_bytes(),
            blocking_waits: waits,
            scaling: self.scaling()?,
        })
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
            let values = StepValues {
                index: index as u32,
                learning_rate: self.evolution.method.learning_rate(rate, self.clock()),
                row_scale: 1.0 / (members.len() * self.batch.labels_per_row()) as f32,
                corrections: self.optimizer.corrections(index as u32),
            };
            let share = self.evolution.method.share(&self.settings.method.updates, self.clock());
            self.prepare(share)?;
            self.batch.load(&self.gpu, &self.data.train, members, values)?;
            let reported = (index + 1).is_multiple_of(every) || index + 1 == until;
            in_flight.push_back(self.gpu.run(self.plan_of(share, reported))?);
            if let (Some(update), Some(_), false) =
                (&self.plans.update, share, self.settings.method.updates.replace_steps())
            {
                self.gpu.run(update)?;
            }
            self.position.step += 1;
            if in_flight.len() > IN_FLIGHT
                && let Some(oldest) = in_flight.pop_front()
            {
                self.gpu.pace(oldest)?;
            }

            if self.position.step.is_multiple_of(every) {
                reports.push_back(Report {
                    totals: self.gpu.read(&self.batch.room.totals)?,
                    status: self.gpu.read(&self.batch.room.status)?,
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
                    accuracy = Some(f64::from(totals[1]) / report.labels as f64);
                }
            }
            let step = self.position.step - epoch * per_epoch;
            if watch(&Event::Progress { epoch, step, steps: per_epoch, loss, accuracy }) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }

    /// Where the run is.
    fn clock(&self) -> Clock {
        let rows = self.data.train.rows();
        Clock {
            step: self.position.step,
            per_epoch: self.settings.steps_per_epoch(rows),
            steps: self.settings.total_steps(rows),
        }
    }

    /// Makes ready what is due before a step: quotas for an update, or the method's own work.
    fn prepare(&mut self, share: Option<f64>) -> Result<()> {
        let Some(share) = share else { return Ok(()) };
        if self.plans.update.is_some() {
            return self.evolution.want(&self.gpu, &*self.model, share);
        }
        if self.evolution.method.is_static() {
            return Ok(());
        }
        let [turn, turns] = self.settings.method.updates.turn(self.clock());
        self.operate(Moment::Update { turn, turns })
    }

    /// What the device does in a step, of which this share of blocks is exchanged, if any.
    /// The device looks for what is not finite where the step is `reported`.
    fn plan_of(&self, share: Option<f64>, reported: bool) -> &Plan {
        let Plans { train, reported: scanned, observe, update, last_update, .. } = &self.plans;
        let Clock { step, per_epoch, .. } = self.clock();
        let update =
            last_update.as_ref().filter(|_| (step + 1).is_multiple_of(per_epoch)).or(update.as_ref());
        match (update, share, observe, self.evolution.method.observe_every()) {
            (Some(update), Some(_), ..) if self.settings.method.updates.replace_steps() => update,
            (_, _, Some(observe), Some(every)) if self.position.step.is_multiple_of(every) => observe,
            _ if reported => scanned,
            _ => train,
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
        let totals = self.gpu.read::<f32>(&self.batch.room.totals)?.wait()?;
        let status = self.gpu.read::<u32>(&self.batch.room.status)?.wait()?;
        self.check(&status, self.position.step.saturating_sub(1))?;
        (self.position.loss_sum, self.position.hits) = (totals[0], totals[1]);
        let rows = self.data.train.rows();
        let per_epoch = self.settings.steps_per_epoch(rows);
        let steps = (self.position.step.max(1) - 1) % per_epoch + 1;
        let seen = ((steps as usize * self.settings.batch).min(rows) * self.batch.labels_per_row()) as f64;
        Ok(Evaluation { loss: f64::from(totals[0]) / seen, accuracy: f64::from(totals[1]) / seen })
    }

    /// Loss and accuracy over the test rows. Waits for the device. A checkpoint is written only after this has seen the
    /// weights at work, so that one with weights that are not finite never replaces a good one.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the layer, [`Error::DeviceLost`].
    pub fn evaluate(&mut self) -> Result<Evaluation> {
        let before = [self.position.loss_sum, self.position.hits];
        self.gpu.write(&self.batch.room.totals, &[0.0f32; 2])?;
        let rows: Vec<u32> = (0..self.data.test.rows() as u32).collect();
        let mut in_flight = VecDeque::from([self.gpu.run(&self.plans.refresh)?]);
        for members in rows.chunks(self.settings.batch) {
            self.batch.load(&self.gpu, &self.data.test, members, StepValues::default())?;
            in_flight.push_back(self.gpu.run(&self.plans.test)?);
            if in_flight.len() > IN_FLIGHT
                && let Some(oldest) = in_flight.pop_front()
            {
                self.gpu.pace(oldest)?;
            }
        }
        let totals = self.gpu.read::<f32>(&self.batch.room.totals)?.wait()?;
        let status = self.gpu.read::<u32>(&self.batch.room.status)?.wait()?;
        self.check(&status, self.position.step.saturating_sub(1))?;
        self.gpu.write(&self.batch.room.totals, &before)?;
        let count = (rows.len() * self.batch.labels_per_row()) as f64;
        Ok(Evaluation { loss: f64::from(totals[0]) / count, accuracy: f64::from(totals[1]) / count })
    }

    /// The run as it stands. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let memory = self.evolution.method.memory();
        let mut checkpoint = Checkpoint::new(self.settings.clone(), self.position, memory);
        let layers = self.model.layers();
        for (parameter, parts) in self.model.parameters().iter().zip(self.optimizer.parts()) {
            let weight = parameter.weight_of.and_then(|layer| layers[layer].weight().sparse());
            let workspace = parameter.weight_of.and_then(|layer| self.evolution.workspaces[layer].as_ref());
            let topology = weight.map(|matrix| matrix.pattern().topology(&self.gpu)).transpose()?;
            let values = self.gpu.read::<f32>(parameter.values)?.wait()?;
            match &topology {
                Some(topology) => checkpoint.put_sparse(&parameter.name, topology, &values),
                None => checkpoint.put(&parameter.name, parameter.values.shape(), values),
            }
            if let (Some(topology), Some(workspace)) = (&topology, workspace) {
                let born = self.gpu.read::<u32>(workspace.born())?.wait()?;
                let born: Vec<u32> = topology.row_order().into_iter().map(|slot| born[slot]).collect();
                checkpoint.put_words(&format!("{}.born", parameter.name), &born);
            }
            for (part, tensor) in parts {
                let values = self.gpu.read::<f32>(tensor)?.wait()?;
                let values =
                    topology.as_ref().map_or(values.clone(), |topology| topology.in_row_order(&values));
                checkpoint.put(&format!("optimizer.{}.{part}", parameter.name), tensor.shape(), values);
            }
        }
        for (name, tensor) in self.model.state() {
            match tensor.dtype() {
                DType::U32 => checkpoint.put_words(&name, &self.gpu.read::<u32>(tensor)?.wait()?),
                _ => checkpoint.put(&name, tensor.shape(), self.gpu.read::<f32>(tensor)?.wait()?),
            }
        }
        if let Some(scale) = self.batch.room.step.scale() {
            checkpoint.put_words("loss_scale", &self.gpu.read::<u32>(scale.tensor())?.wait()?);
        }
        checkpoint.put_words("method.grown", &[self.evolution.grown.into()]);
        for (name, tensor) in self.evolution.tensors(&*self.model) {
            match tensor.dtype() {
                DType::U32 => checkpoint.put_words(&name, &self.gpu.read::<u32>(&tensor)?.wait()?),
                _ => checkpoint.put(&name, tensor.shape(), self.gpu.read::<f32>(&tensor)?.wait()?),
            }
        }
        Ok(checkpoint)
    }

    /// What passed through mixtures of experts since this was last asked. Waits for the device.
    fn take_loads(&self) -> Result<Vec<LoadRecord>> {
        let take = |tensor: &Tensor| -> Result<Vec<u32>> {
            let words = self.gpu.read::<u32>(tensor)?.wait()?;
            self.gpu.write(tensor, &vec![0u32; words.len()])?;
            Ok(words)
        };
        let record = |load: Load<'_>| {
            Ok(LoadRecord { name: load.name, taken: take(load.taken)?, dropped: take(load.dropped)? })
        };
        self.model.loads().into_iter().map(record).collect()
    }

    /// How gradients are scaled, where they are. Waits for the device.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where no scale is small enough for them, [`Error::DeviceLost`].
    fn scaling(&self) -> Result<Option<Scaling>> {
        let Some(scale) = self.batch.room.step.scale() else { return Ok(None) };
        let state = scale.read(&self.gpu)?;
        if state.scale <= LossScaleState::LEAST {
            let step = self.position.step.saturating_sub(1);
            return Err(Error::NotFinite { step, layer: "every layer".to_owned(), quantity: "the gradient" });
        }
        Ok(Some(Scaling { loss_scale: state.scale, skipped: state.skipped }))
    }

    /// The patterns as they are, for the log. Waits for the device.
    fn layer_records(&self) -> Result<Vec<LayerRecord>> {
        let (method, updates) = (&self.evolution.method, &self.settings.method.updates);
        let clock = self.clock();
        let due = |&step: &u64| method.share(updates, Clock { step, ..clock }).is_some();
        let updates =
            if self.plans.update.is_some() { (0..clock.step).filter(due).count() as u64 } else { 0 };
        let mut records = Vec::new();
        for (layer, workspace) in self.model.layers().iter().zip(&self.evolution.workspaces) {
            let Some(weight) = layer.weight().sparse() else { continue };
            let (gpu, pattern) = (&self.gpu, weight.pattern());
            let (topology, places) = (pattern.topology(gpu)?, pattern.places());
            let (visited, churn) = match workspace {
                Some(workspace) => {
                    let visited = gpu.read::<u32>(workspace.visited())?.wait()?;
                    let churn = gpu.read::<u32>(workspace.churn())?.wait()?[0];
                    (visited.iter().map(|word| word.count_ones()).sum(), churn)
                }
                None => (pattern.nnz() as u32, 0),
            };
            let awake = topology.awake();
            let set = |member: &dyn Fn(usize) -> bool| {
                let members = topology.places().enumerate().filter(|&(slot, _)| member(slot));
                report::to_hex(&bits::set(places, members.map(|(_, place)| place)), places)
            };
            records.push(LayerRecord {
                name: layer.name().to_owned(),
                row_blocks: pattern.row_blocks(),
                col_blocks: pattern.col_blocks(),
                block: pattern.block(),
                nnz: pattern.nnz(),
                updates,
                churn: churn.into(),
                visited: f64::from(visited) / places as f64,
                pattern: set(&|_| true),
                resting: awake.contains(&false).then(|| set(&|slot| !awake[slot])),
            });
        }
        Ok(records)
    }

    /// Takes up what the method remembers.
    fn recall(&mut self, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let mut method = std::mem::replace(&mut self.evolution.method, Box::new(Static));
        let result = method.recall(&checkpoint.memory, self);
        self.evolution.method = method;
        result?;
        if let Some(scale) = self.batch.room.step.scale() {
            let words = checkpoint.words(path, "loss_scale", scale.tensor().len())?;
            self.gpu.write(scale.tensor(), &words)?;
        }
        self.evolution.grown = checkpoint.words(path, "method.grown", 1)?[0] != 0;
        for (layer, workspace) in self.model.layers().iter().zip(&self.evolution.workspaces) {
            if let Some(workspace) = workspace {
                let name = format!("{}.weight.born", layer.name());
                let born = checkpoint.words(path, &name, workspace.born().len())?;
                self.gpu.write(workspace.born(), &born)?;
            }
        }
        for (name, tensor) in self.evolution.tensors(&*self.model) {
            match tensor.dtype() {
                DType::U32 => {
                    let words = checkpoint.words(path, &name, tensor.len())?;
                    // A pattern from outside is validated before a kernel reads it.
                    if name.ends_with(".pattern") {
                        Topology::from_packed(&words).map_err(|error| Error::Checkpoint {
                            path: path.to_owned(),
                            reason: format!("{name}: {error}"),
                        })?;
                    }
                    self.gpu.write(&tensor, &words)?;
                }
                _ => self.gpu.write(&tensor, checkpoint.get(path, &name, tensor.shape())?)?,
            }
        }
        Ok(())
    }

    /// Names the first layer, from the input on, in which something is not finite.
    fn check(&self, status: &[u32], step: u64) -> Result<()> {
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

/// What was chosen for each class of shapes that was recorded on a device.
fn kernel_records(gpu: &Gpu) -> Vec<KernelRecord> {
    let record = |(work, verdict): (Workload, Option<Verdict>)| {
        let Verdict { choice, versus_dense } = verdict?;
        let versus_dense = versus_dense.map(|versus| versus.at(work.density()));
        Some(KernelRecord { shape: work.to_string(), choice: choice.name().to_owned(), versus_dense })
    };
    gpu.workloads().into_iter().filter_map(record).collect()
}

impl Batch {
    /// How many labels a row has: one, or one for each character of a text.
    pub(super) fn labels_per_row(&self) -> usize {
        self.host_labels.len() / self.rows
    }

    /// Sends rows and the step's values to the device, ahead of what is submitted next.
    pub(super) fn load(&mut self, gpu: &Gpu, data: &Rows, rows: &[u32], values: StepValues) -> Result<()> {
        data.fill(rows, &mut self.host_input, &mut self.host_labels);
        match &self.host_input {
            Input::Floats(features) if self.input.dtype() == DType::F16 => {
                self.halves.convert_from_f32_slice(features);
                gpu.write(&self.input, &self.halves)?;
            }
            Input::Floats(features) => gpu.write(&self.input, features)?,
            Input::Ids(ids) => gpu.write(&self.input, ids)?,
        }
        gpu.write(&self.room.labels, &self.host_labels)?;
        self.room.step.write(gpu, values)
    }
}
