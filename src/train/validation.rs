//! Validation: rows to choose by, the best epoch so far, and the end of a run that no longer improves.

use super::evaluate::Part;
use super::{Evaluation, Trainer};
use crate::data::Holdout;
use crate::{Error, Result};

/// Settings of a run that validates.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Validation {
    /// Origin of the validation rows.
    pub of: Holdout,
    /// Epochs without a smaller validation loss after which the run is over; `None` for a run of its full length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
}

impl Validation {
    /// Refuses a patience of no epoch.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub(super) fn validate(&self) -> Result<()> {
        if self.patience == Some(0) {
            let reason = "0 epochs without improvement would end the run after its first epoch".to_owned();
            return Err(Error::Config { option: "patience", reason });
        }
        Ok(())
    }
}

/// Epoch with the smallest validation loss so far; among equals the first.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Best {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Steps done at its end.
    pub step: u64,
    /// Means over the validation rows.
    pub validation: Evaluation,
    /// Means over the test rows, by the same weights.
    pub test: Evaluation,
}

/// Validation of a run, at its end.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Validated {
    /// Means over the validation rows at the end of the run.
    pub last: Evaluation,
    /// The best epoch; `None` where no epoch is over.
    pub best: Option<Best>,
    /// Whether the patience ended the run before its full length.
    pub finished_early: bool,
}

impl Trainer {
    /// Loss and accuracy over the validation rows; `None` where none are set aside. Waits for the device.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`].
    pub fn validate(&mut self) -> Result<Option<Evaluation>> {
        match &self.data.validation {
            Some(_) => self.measure(Part::Validation).map(Some),
            None => Ok(None),
        }
    }

    /// Compares an epoch with the best so far. Returns whether it is better; it is the best from then on.
    pub(super) fn compare(&mut self, epoch: u64, validation: Option<Evaluation>, test: Evaluation) -> bool {
        let Some(validation) = validation else { return false };
        let is_best = self.position.best.is_none_or(|best| validation.loss < best.validation.loss);
        if is_best {
            self.position.best = Some(Best { epoch, step: self.position.step, validation, test });
        }
        is_best
    }

    /// Whether the validation loss has not fallen for as many epochs as the run has patience. A function of the position alone,
    /// so that a resumed run ends where it would have ended.
    pub(super) fn is_out_of_patience(&self) -> bool {
        let Some(patience) = self.settings.validation.as_ref().and_then(|validation| validation.patience)
        else {
            return false;
        };
        let per_epoch = self.settings.steps_per_epoch(self.data.train.rows());
        let done = self.position.step / per_epoch;
        self.position.best.is_some_and(|best| done.saturating_sub(best.epoch.saturating_add(1)) >= patience)
    }

    /// Note of a run that ends before its full length.
    pub(super) fn early_notice(&self) -> Option<String> {
        let best = self.position.best.filter(|_| self.is_out_of_patience())?;
        Some(format!(
            "finished early, after {} steps: the validation loss has not fallen below that of epoch {}, {:.4}",
            self.position.step,
            best.epoch + 1,
            best.validation.loss
        ))
    }

    /// Validation at the end of a run; `last` is the last epoch's, where this process had one.
    pub(super) fn validated(&mut self, last: Option<Evaluation>) -> Result<Option<Validated>> {
        let last = match last {
            Some(last) => Some(last),
            None => self.validate()?,
        };
        let (best, finished_early) = (self.position.best, self.is_out_of_patience());
        Ok(last.map(|last| Validated { last, best, finished_early }))
    }
}
