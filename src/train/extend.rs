//! Runs that become longer, or shorter, than they were begun.

use super::{Checkpoint, Length, Schedule};
use crate::{Error, Result};

impl Checkpoint {
    /// Gives a run over `rows` training rows another length; a finished run goes on. Learning rate and updates of the method follow
    /// the schedules of the new length from here on, so an extended run has other bits than a run that had this length from the
    /// start, unless the rate is constant and the method static. Returns a note of these changes for the user.
    ///
    /// # Errors
    /// [`Error::Config`] if as many steps are done already, or if the method divides the old length into phases.
    pub fn extend(&mut self, length: Length, rows: usize) -> Result<String> {
        let option = match length {
            Length::Epochs(_) => "epochs",
            Length::Steps(_) => "steps",
        };
        let bad = |reason: String| Err(Error::Config { option, reason });
        let (settings, done) = (&mut self.settings, self.position.step);
        let before = settings.total_steps(rows);
        let old = std::mem::replace(&mut settings.length, length);
        let after = settings.total_steps(rows);
        if after <= done {
            settings.length = old;
            let per_epoch = settings.steps_per_epoch(rows);
            return bad(format!(
                "{after} steps in all, but {done} are done, in epochs of {per_epoch}; give the length of the whole run, and \
                 more than that"
            ));
        }
        if let (Some(tasks), true) = (settings.tasks, after != before) {
            settings.length = old;
            return bad(format!(
                "the {before} steps that the run was begun with are shared out among {} tasks, and their number cannot change; \
                 leave the option out, or begin a new run",
                tasks.count
            ));
        }
        let (kind, method) = (settings.method.kind(), settings.method.build());
        if after != before && method.has_phases() {
            settings.length = old;
            return bad(format!(
                "{kind} divides the {before} steps that the run was begun with into phases, and cannot change their number; \
                 leave the option out, or begin a new run"
            ));
        }
        let mut note = format!("the run has {after} steps now instead of {before}, of which {done} are done");
        if settings.schedule != Schedule::Constant && after != before {
            let rate = |steps| settings.learning_rate_at(done, steps);
            // A finished run has no next step, so the rate is that of its last step.
            let then = settings.learning_rate_at(done.min(before.saturating_sub(1)), before);
            note += &format!(
                "; the {} schedule is that of {after} steps from here on, so the learning rate goes from {then:.2e} to {:.2e}",
                settings.schedule,
                rate(after)
            );
        }
        if !method.is_static() && after != before {
            note += &format!("; so are the updates of {kind}");
        }
        Ok(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::{Kind, MethodConfig};
    use crate::nn::{MlpConfig, Precision};
    use crate::ops::Activation;
    use crate::sparse::Density;
    use crate::train::{OptimizerKind, Position, Settings};

    /// A run of ten epochs of four steps, at step `step`.
    fn checkpoint(kind: Kind, schedule: Schedule, step: u64) -> Checkpoint {
        let settings = Settings {
            data: "digits".to_owned(),
            first_rows: [None; 2],
            table: Default::default(),
            model: MlpConfig {
                inputs: 64,
                hidden: vec![64],
                classes: 10,
                block: 16,
                sparsity: Some(0.5),
                density: Density::Erk,
                activation: Activation::Relu,
                dropout: 0.0,
                seed: 1,
                layers: Default::default(),
                local: None,
            }
            .into(),
            precision: Precision::F32,
            method: MethodConfig::new(kind),
            length: Length::Epochs(10),
            batch: 25,
            micro_batch: None,
            recompute: None,
            images: None,
            validation: None,
            epoch_steps: None,
            optimizer: OptimizerKind::Sgd,
            learning_rate: 0.1,
            schedule,
            momentum: 0.9,
            weight_decay: 0.0,
            rows_seed: None,
            basis: None,
            tasks: None,
            warmup: 0,
            origin: Default::default(),
        };
        Checkpoint::new(
            settings,
            Position { step, replaced: 0, loss_sum: 0.0, hits: 0.0, best: None },
            serde_json::Value::Null,
        )
    }

    #[test]
    fn a_finished_run_is_extended_and_told_its_rates() {
        let mut cosine = checkpoint(Kind::Rigl, Schedule::Cosine, 40);
        let note = cosine.extend(Length::Epochs(20), 100).unwrap();
        assert_eq!(cosine.settings.length, Length::Epochs(20));
        // From the last step, 39 of 40, to half of the way: 0.1 * (1 + cos(39 pi / 40)) / 2, and a half of 0.1.
        assert_eq!(
            note,
            "the run has 80 steps now instead of 40, of which 40 are done; the cosine schedule is that of 80 steps from here \
             on, so the learning rate goes from 1.54e-4 to 5.00e-2; so are the updates of rigl"
        );
        let note = checkpoint(Kind::Static, Schedule::Constant, 40).extend(Length::Steps(41), 100).unwrap();
        assert_eq!(note, "the run has 41 steps now instead of 40, of which 40 are done");
    }

    #[test]
    fn a_length_that_is_done_is_refused_and_changes_nothing() {
        for (length, option) in
            [(Length::Epochs(10), "epochs: 40 steps"), (Length::Steps(39), "steps: 39 steps")]
        {
            let mut run = checkpoint(Kind::Static, Schedule::Constant, 40);
            let error = run.extend(length, 100).unwrap_err().to_string();
            assert!(
                error.starts_with(option) && error.contains("but 40 are done, in epochs of 4"),
                "{error}"
            );
            assert_eq!(run.settings.length, Length::Epochs(10));
        }
    }

    #[test]
    fn phases_are_of_the_run_that_was_begun() {
        for kind in [Kind::Magnitude, Kind::Gap, Kind::SupTickets, Kind::Scl, Kind::EarlyCrop] {
            let error = checkpoint(kind, Schedule::Constant, 20).extend(Length::Epochs(20), 100).unwrap_err();
            let wanted = format!("epochs: {kind} divides the 40 steps");
            assert!(error.to_string().starts_with(&wanted), "{error}");
            // The length that it has is no other length.
            assert!(checkpoint(kind, Schedule::Constant, 20).extend(Length::Steps(40), 100).is_ok());
        }
    }
}
