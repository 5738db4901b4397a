//! Losses, rates and times of steps within an epoch, for the log.

use std::time::Instant;

use super::StepsRecord;

/// A report of progress that has arrived from the device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    /// Steps done in the run.
    pub(super) step: u64,
    /// Learning rate of the last of them.
    pub(super) learning_rate: f32,
    /// Sum of the losses of the epoch so far.
    pub(super) loss_sum: f32,
    /// Labels of the epoch so far.
    pub(super) labels: usize,
}

/// Reports of an epoch, each of the steps since the report before it.
#[derive(Debug)]
pub(super) struct StepLog {
    record: StepsRecord,
    /// The last report, or the beginning, and the time of its arrival.
    last: (Arrived, Instant),
}

impl StepLog {
    /// A log that begins now, in an epoch that may be under way.
    pub(super) fn new(epoch: u64, start: Arrived) -> Self {
        Self { record: StepsRecord::new(epoch), last: (start, Instant::now()) }
    }

    /// Adds reports that arrived together, in order. They share the time that has passed, by their numbers of steps.
    pub(super) fn add(&mut self, reports: &[Arrived]) {
        let Some(newest) = reports.last() else { return };
        let now = Instant::now();
        let (mut before, at) = self.last;
        let milliseconds = now.duration_since(at).as_secs_f64() * 1e3;
        let step_ms = milliseconds / (newest.step - before.step).max(1) as f64;
        for report in reports {
            let sum = f64::from(report.loss_sum) - f64::from(before.loss_sum);
            let loss = sum / (report.labels - before.labels).max(1) as f64;
            self.record.steps.push(report.step);
            self.record.loss.push(Some(loss as f32));
            self.record.learning_rate.push(Some(report.learning_rate));
            self.record.step_ms.push(Some(step_ms as f32));
            before = *report;
        }
        self.last = (before, now);
    }

    /// Steps of the run that the log covers.
    pub(super) fn step(&self) -> u64 {
        self.last.0.step
    }

    /// The record, unless nothing was reported.
    pub(super) fn into_record(self) -> Option<StepsRecord> {
        Some(self.record).filter(|record| !record.steps.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_covers_the_steps_since_the_one_before() {
        let arrived = |step, loss_sum, labels| Arrived { step, learning_rate: 0.5, loss_sum, labels };
        // The run is resumed at step 10, within its epoch.
        let mut log = StepLog::new(3, arrived(10, 4.0, 8));
        log.add(&[]);
        assert!(StepLog::new(3, arrived(10, 4.0, 8)).into_record().is_none());
        log.add(&[arrived(12, 6.0, 16), arrived(14, 7.0, 24)]);
        log.add(&[arrived(15, 7.5, 26)]);
        assert_eq!(log.step(), 15);
        let record = log.into_record().unwrap();
        assert_eq!((record.epoch, record.steps), (3, vec![12, 14, 15]));
        assert_eq!(record.loss, [0.25, 0.125, 0.25].map(Some));
        assert_eq!(record.learning_rate, [Some(0.5); 3]);
        assert_eq!(record.step_ms[0], record.step_ms[1]);
        assert!(record.step_ms.iter().all(|time| time.is_some_and(|time| time >= 0.0)));
    }
}
