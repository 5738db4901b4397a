//! Steps of an epoch: batches and programs that are submitted to the device, and reports of progress on their way back.

use std::collections::VecDeque;

use super::plans::Plans;
use super::program::Program;
use super::{Event, Flow, Trainer};
use crate::Result;
use crate::data::epoch_order;
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
    /// Labels of the epoch until then.
    labels: usize,
    step: u64,
}

impl Trainer {
    /// Submits steps of one epoch. The host never waits for a result here: reports arrive when they do.
    pub(super) fn train_until(
        &mut self,
        epoch: u64,
        until: u64,
        watch: &mut dyn FnMut(&Event) -> Flow,
    ) -> Result<Flow> {
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
        let order = epoch_order(rows, self.settings.model.seed(), epoch);
        let first = step as usize * self.settings.batch;
        order[first..rows.min(first + self.settings.batch)].to_vec()
    }
}
