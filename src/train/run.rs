//! The training loop: epochs of steps, a test after each, log, checkpoints and summary.

use std::time::{Duration, Instant};

use super::plans::StepBuffers;
use super::{EpochRecord, LogRecord, StartRecord};
use super::{Evaluation, Event, Flow, RunFolder, Summary, Trainer};
use crate::Result;
use crate::methods::Phase;
use crate::nn::ModelConfig;

impl Trainer {
    /// Trains to the end, or until the watcher stops it. With a folder, a checkpoint is kept after every epoch and when
    /// stopped.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) naming the layer; [`Error::Io`](crate::Error::Io) if a checkpoint cannot be written;
    /// [`Error::DeviceLost`](crate::Error::DeviceLost). The
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
        let mut train = Evaluation::NONE;
        let (mut test, mut validation, mut tasks) = (None, None, None);
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

        while self.position.step < total && flow == Flow::Continue && !self.is_out_of_patience() {
            let epoch = self.position.step / per_epoch;
            let until = total.min((epoch + 1) * per_epoch);
            self.compile(watch)?;
            let (began, at, waited) = (Instant::now(), self.position.step, self.gpu.blocking_waits());
            let mutating = self.evolution.mutating;
            let submitted = self.train_until(epoch, until, watch)?;
            flow = submitted.flow;
            waits += self.gpu.blocking_waits() - waited;
            train = self.collect()?;
            let elapsed = began.elapsed().saturating_sub(self.evolution.mutating - mutating);
            let done = self.position.step - at;
            (trained, steps_here) = (trained + elapsed, steps_here + done);
            let steps = self.finish_log(submitted)?;
            if let (Some(folder), Some(steps)) = (folder, steps) {
                folder.log(&LogRecord::Steps(steps))?;
            }

            if self.position.step == until {
                let epochs = total.div_ceil(per_epoch);
                self.mutate(Phase::EpochEnd { epoch, epochs, train_loss: train.loss })?;
                if self.tuner.as_ref().is_some_and(|tuner| tuner.wanted() > 0 && !tuner.is_spent()) {
                    self.tune_new(watch)?;
                    folder.map_or(Ok(()), |folder| self.log_kernels(folder))?;
                }
                let evaluation = self.evaluate()?;
                test = Some(evaluation);
                validation = self.validate()?;
                self.test_ensemble()?;
                let is_best = self.compare(epoch, validation, evaluation);
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
                    validation,
                    steps_per_second: done as f64 / elapsed.as_secs_f64(),
                    loads: loads.clone(),
                    scaling,
                };
                let local = self.local_losses(train)?;
                tasks = self.task_scores(epoch)?;
                // The next epoch's totals start from nothing; so does a run resumed from here. An epoch that the run's end cuts
                // short is not over: it goes on where the run is extended.
                if until.is_multiple_of(per_epoch) {
                    (self.position.loss_sum, self.position.hits) = (0.0, 0.0);
                    let StepBuffers { totals, heads, .. } = &self.batch.buffers;
                    [totals].into_iter().chain(heads).try_for_each(|of| self.gpu.write(of, &[0.0f32; 2]))?;
                }
                let layers = if folder.is_some() { self.layer_records()? } else { Vec::new() };
                self.evolution.forget_churn(&self.gpu)?;
                if let Some(folder) = folder {
                    let is_last = until == total || self.is_out_of_patience();
                    let confusion = if is_last { self.confusion()?.map(Box::new) } else { None };
                    // Before the checkpoint: a run that is killed in between is resumed before this epoch and logs it again.
                    let step = self.position.step;
                    folder.log(&LogRecord::Epoch(EpochRecord {
                        epoch,
                        step,
                        train,
                        test: evaluation,
                        validation,
                        local,
                        networks: self.network_scores().cloned().map(Box::new),
                        tasks: tasks.clone().map(Box::new),
                        confusion,
                        layers,
                        loads,
                        scaling,
                        notices: self.signs.notices.clone(),
                    }))?;
                    let checkpoint = self.checkpoint()?;
                    if is_best {
                        folder.save_best(&checkpoint)?;
                    }
                    folder.save(&checkpoint)?;
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
        self.tell(self.early_notice().into_iter().collect(), &mut told, watch);
        Ok(Summary {
            finished: self.position.step >= total || self.is_out_of_patience(),
            test_accuracy: test.accuracy,
            test_loss: test.loss,
            validation: self.validated(validation)?,
            test_rmse: test.rmse,
            test_r2: test.r2,
            train_loss: train.loss,
            steps: self.position.step,
            seconds: started.elapsed().as_secs_f64(),
            step_ms: trained.as_secs_f64() * 1e3 / steps_here as f64,
            operating_ms: self.evolution.mutating.as_secs_f64() * 1e3,
            params_present: self.params_present()?,
            params_dense: self.params_dense(),
            networks: self.network_scores().cloned(),
            tasks,
            bytes: self.gpu.bytes(),
            peak_bytes: self.gpu.peak_bytes(),
            blocking_waits: waits,
            scaling: self.scaling()?,
            empty_lines: self.signs.empty.clone(),
            notices,
        })
    }

    /// Parameters with every block present; of many networks those within each.
    fn params_dense(&self) -> usize {
        match &self.settings.model {
            ModelConfig::Mlps(config) => config.params_dense(),
            _ => self.model.graph().params_dense(),
        }
    }

    /// Stored parameters, without padding. Waits for the topologies of padded layers.
    fn params_present(&self) -> Result<usize> {
        let mut present = self.model.params_present();
        for param in self.settings.model.description()?.params.iter().filter(|param| param.has_padding()) {
            let weight = self.model.store().by_name(&param.name)?.weight().sparse();
            let topology = weight.map(|matrix| matrix.pattern().topology(&self.gpu)).transpose()?;
            present -= param.padding(topology.as_ref());
        }
        Ok(present)
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

    /// Waits for the totals of the current epoch.
    fn collect(&mut self) -> Result<Evaluation> {
        let totals = self.gpu.read::<f32>(&self.batch.buffers.totals)?.wait()?;
        let status = self.gpu.read::<u32>(&self.batch.buffers.status)?.wait()?;
        self.check(&status, self.position.step.saturating_sub(1))?;
        (self.position.loss_sum, self.position.hits) = (totals[0], totals[1]);
        Ok(self.evaluation(&totals, self.seen(), &self.data.train))
    }

    /// Losses of the current epoch so far.
    pub(super) fn seen(&self) -> f64 {
        let rows = self.data.train.rows();
        let per_epoch = self.settings.steps_per_epoch(rows);
        let steps = (self.position.step.max(1) - 1) % per_epoch + 1;
        ((steps as usize * self.settings.batch).min(rows) * self.batch.losses_per_row()) as f64
    }
}
