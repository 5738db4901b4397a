//! Steps of an epoch: batches and programs that are submitted to the device, and reports of progress on their way back.

use std::collections::VecDeque;

use super::plans::Plans;
use super::program::Program;
use super::step_log::{Arrived, StepLog};
use super::{Event, Flow, StepsRecord, Trainer};
use crate::Result;
use crate::gpu::{Pending, Submission};
use crate::methods::{Clock, Phase};
use crate::ops::StepValues;

/// Steps that may be in flight. Enough to keep a device busy while the host writes the next batch, and few enough that
/// progress is up to date and an interrupt is heard.
pub(super) const IN_FLIGHT: usize = 4;

/// Reports of progress within an epoch, or thereabouts. Each scans what a step has made.
const REPORTS: u64 = 20;

/// A report of progress on its way back from the device.
struct Report {
    totals: Pending<f32>,
    status: Pending<u32>,
    /// The report, but for its totals.
    of: Arrived,
}

/// Steps of an epoch that were submitted, with the reports that have arrived and those that are on their way.
pub(super) struct Submitted {
    pub(super) flow: Flow,
    log: StepLog,
    reports: VecDeque<Report>,
    /// Learning rate of the last step.
    learning_rate: f32,
}

impl Trainer {
    /// Submits steps of one epoch. The host never waits for a result here: reports arrive when they do.
    pub(super) fn train_until(
        &mut self,
        epoch: u64,
        until: u64,
        watch: &mut dyn FnMut(&Event) -> Flow,
    ) -> Result<Submitted> {
        let rows = self.data.train.rows();
        let per_epoch = self.settings.steps_per_epoch(rows);
        let total = self.settings.total_steps(rows);
        let order = self.epoch_order(epoch);
        let every = (per_epoch / REPORTS).max(1);
        let mut in_flight = VecDeque::new();
        let mut reports: VecDeque<Report> = VecDeque::new();
        let (mut loss, mut accuracy) = (None, None);
        let (mut flow, mut learning_rate) = (Flow::Continue, 0.0);
        let mut log = StepLog::new(epoch, self.arrived(self.position.step % per_epoch, learning_rate));

        while self.position.step < until && flow == Flow::Continue {
            let index = self.position.step;
            let first = (index % per_epoch) as usize * self.settings.batch;
            let members = &order[first..rows.min(first + self.settings.batch)];
            let rate = self.settings.learning_rate_at(index, total);
            let share = self.evolution.method.share(self.clock());
            self.prepare(share)?;
            self.exchange_networks(index)?;
            let replaces = self.replaces_step(share);
            let moves = self.position.moves();
            let values = StepValues {
                index: index as u32,
                learning_rate: self.evolution.method.learning_rate(rate, self.clock()),
                row_scale: 1.0 / (members.len() * self.batch.labels_per_row()) as f32,
                corrections: self.optimizer.corrections(moves),
                moves: moves + u32::from(!replaces),
            };
            learning_rate = values.learning_rate;
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
                    of: Arrived {
                        step: self.position.step,
                        learning_rate,
                        loss_sum: 0.0,
                        labels: (first + members.len()) * self.batch.losses_per_row(),
                    },
                });
            }
            let mut arrived = Vec::new();
            while let Some(report) = reports.front_mut() {
                if !(report.totals.is_ready()? && report.status.is_ready()?) {
                    break;
                }
                if let Some(report) = reports.pop_front() {
                    let Report { totals, status, of } = report;
                    self.check(&status.wait()?, of.step - 1)?;
                    let totals = totals.wait()?;
                    loss = Some(f64::from(totals[0]) / of.labels as f64);
                    accuracy = self.objective.counts_hits().then(|| f64::from(totals[1]) / of.labels as f64);
                    arrived.push(Arrived { loss_sum: totals[0], ..of });
                }
            }
            log.add(&arrived);
            let step = self.position.step - epoch * per_epoch;
            flow = watch(&Event::Progress { epoch, step, steps: per_epoch, loss, accuracy });
        }
        Ok(Submitted { flow, log, reports, learning_rate })
    }

    /// The log of submitted steps, once their totals have been [collected](Trainer::collect) and so nothing is waited for: the
    /// reports that were on their way, and one of the steps after the last report.
    pub(super) fn finish_log(&self, submitted: Submitted) -> Result<Option<StepsRecord>> {
        let Submitted { mut log, reports, learning_rate, .. } = submitted;
        let mut arrived = Vec::new();
        for Report { totals, of, .. } in reports {
            arrived.push(Arrived { loss_sum: totals.wait()?[0], ..of });
        }
        if self.position.step > arrived.last().map_or(log.step(), |last| last.step) {
            let per_epoch = self.settings.steps_per_epoch(self.data.train.rows());
            arrived.push(self.arrived((self.position.step - 1) % per_epoch + 1, learning_rate));
        }
        log.add(&arrived);
        Ok(log.into_record())
    }

    /// The run after `steps` steps of an epoch, as its position says.
    fn arrived(&self, steps: u64, learning_rate: f32) -> Arrived {
        let rows = (steps as usize * self.settings.batch).min(self.data.train.rows());
        Arrived {
            step: self.position.step,
            learning_rate,
            loss_sum: self.position.loss_sum,
            labels: rows * self.batch.losses_per_row(),
        }
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

    /// Program of the current step, with `share` of the blocks to exchange, if any. A `reported` step scans for NaN and infinity.
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
        let order = self.epoch_order(epoch);
        let first = step as usize * self.settings.batch;
        order[first..rows.min(first + self.settings.batch)].to_vec()
    }
}
