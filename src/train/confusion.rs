//! Confusion matrix of the test rows.

use super::metrics::largest;
use super::{Confusion, Trainer};
use crate::Result;
use crate::data::{Rows, Targets};
use crate::ops::{IGNORED, StepValues};

/// Most classes of a matrix that is logged.
const MOST_CLASSES: usize = 30;

impl Trainer {
    /// Counts of test rows by their class and by the class of their largest logit, the first in a tie; `None` for a text, for more than
    /// 30 classes, and where targets are no classes. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub(super) fn confusion(&mut self) -> Result<Option<Confusion>> {
        if !matches!(self.data.targets(), Targets::Classes(1..=MOST_CLASSES)) {
            return Ok(None);
        }
        let Some(counts) = self.count_classes()? else { return Ok(None) };
        let names = (0..counts.len()).map(|class| self.data.class_name(class)).collect();
        Ok(Some(Confusion { names, counts }))
    }

    /// Counts as [`Trainer::confusion`] has, of any number of classes.
    pub(super) fn count_classes(&mut self) -> Result<Option<Vec<Vec<u64>>>> {
        let classes = match self.data.targets() {
            Targets::Classes(classes) if self.objective.counts_hits() => classes,
            _ => return Ok(None),
        };
        let several = self.model.outputs().len() != 1 || self.objective.networks().is_some();
        if matches!(self.data.test, Rows::Text(_)) || several {
            return Ok(None);
        }
        let columns = self.model.logits().shape()[1];
        let mut counts = vec![vec![0u64; columns]; classes];
        let rows: Vec<u32> = (0..self.data.test.rows() as u32).collect();
        let before = [self.position.loss_sum, self.position.hits];
        for members in rows.chunks(self.settings.pass_rows()) {
            self.batch.load(&self.gpu, &self.data.test, members, StepValues::forward(0))?;
            self.gpu.run(&self.plans.test)?;
            let logits = self.gpu.read::<f32>(self.model.logits())?.wait()?;
            for (&class, logits) in self.batch.classes().iter().zip(logits.chunks(columns)) {
                if class != IGNORED {
                    counts[class as usize][largest(logits)] += 1;
                }
            }
        }
        self.gpu.write(&self.batch.buffers.totals, &before)?;
        Ok(Some(counts))
    }
}
