//! Losses of parts that are trained by heads of their own: their totals over an epoch.

use super::{Checkpoint, Evaluation, Trainer};
use crate::Result;
use crate::nn::HEADS;

/// Name of the totals of a part's head in a checkpoint.
pub(super) fn totals_name(part: usize) -> String {
    format!("{HEADS}.{part}.totals")
}

impl Trainer {
    /// Mean training loss of each part in the epoch, of which the last part's is that of the network; none for a network of one part.
    /// Waits for the device.
    pub(super) fn local_losses(&self, train: Evaluation) -> Result<Vec<f64>> {
        let heads = &self.batch.buffers.heads;
        let mut losses = Vec::new();
        for totals in heads {
            losses.push(f64::from(self.gpu.read::<f32>(totals)?.wait()?[0]) / self.seen());
        }
        losses.extend((!heads.is_empty()).then_some(train.loss));
        Ok(losses)
    }

    /// Puts the totals of the epoch so far into a checkpoint. Waits for the device.
    pub(super) fn save_head_totals(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        for (part, totals) in self.batch.buffers.heads.iter().enumerate() {
            let values = self.gpu.read::<f32>(totals)?.wait()?;
            checkpoint.put(&totals_name(part), totals.shape(), values);
        }
        Ok(())
    }
}
