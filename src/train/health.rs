//! Signs that a run is useless: no path of blocks, no signal, a loss or an accuracy that guessing would reach.

use super::{Evaluation, Trainer};
use crate::Result;
use crate::gpu::{Plan, Recorder};
use crate::graph::Param;
use crate::ops;
use crate::sparse;

/// Lines of one sparse layer's grid that have no active block.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EmptyLines {
    /// Name of the layer.
    pub layer: String,
    /// Rows of blocks without an active block: outputs that are their bias alone.
    pub rows: u32,
    /// Columns of blocks without an active block: inputs that are not read.
    pub cols: u32,
    /// Rows and columns of blocks in all.
    pub of: [usize; 2],
}

/// Findings of the last test besides its loss and accuracy.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs {
    /// Sparse layers with an empty line.
    pub(super) empty: Vec<EmptyLines>,
    /// Each sign in words.
    pub(super) notices: Vec<String>,
}

/// Flags of [`ops::activity`].
const NOT_ZERO: u32 = 1;
const ROWS_DIFFER: u32 = 2;

impl Trainer {
    /// Records the counts of empty rows and columns of each sparse layer.
    pub(super) fn record_empty(&self) -> Result<Plan> {
        let mut rec = Recorder::new(&self.gpu);
        let sparse = self.model.store().sparse().filter_map(|param| param.weight().sparse());
        for (number, weight) in sparse.enumerate() {
            ops::empty_lines(&mut rec, weight.pattern(), &self.batch.buffers.empty, number)?;
        }
        rec.finish()
    }

    /// Reads back what the tests of one evaluation raised. Waits for the device.
    pub(super) fn read_signs(&self) -> Result<Signs> {
        let counts = self.gpu.read::<u32>(&self.batch.buffers.empty)?.wait()?;
        let activity = self.gpu.read::<u32>(&self.batch.buffers.activity)?.wait()?;
        let lines = |(param, counts): (&Param, &[u32])| {
            let pattern = param.weight().sparse()?.pattern();
            let of = [pattern.row_blocks(), pattern.col_blocks()];
            Some(EmptyLines { layer: param.layer().to_owned(), rows: counts[0], cols: counts[1], of })
        };
        let mut empty: Vec<_> = self.model.store().sparse().zip(counts.chunks(2)).filter_map(lines).collect();
        empty.retain(|layer| layer.rows + layer.cols > 0);

        let mut notices = Vec::new();
        if !empty.is_empty() && !self.has_path()? {
            notices.push(
                "no path of blocks leads from the input to the output: predictions cannot depend on the data; \
                 lower --sparsity"
                    .to_owned(),
            );
        }
        let names = self.model.activations();
        for (at, ((name, _), &flags)) in names.iter().zip(&activity).enumerate() {
            if at + 1 == names.len() {
                if flags & ROWS_DIFFER == 0 && self.data.test.rows() > 1 {
                    notices.push(
                        "every test row has the same logits: predictions do not depend on the data"
                            .to_owned(),
                    );
                }
            } else if flags & NOT_ZERO == 0 {
                notices.push(format!(
                    "every activation of {name} is 0 on the test rows: no layer before it can learn"
                ));
            }
        }
        Ok(Signs { empty, notices })
    }

    /// Whether a path of active blocks leads through a plain chain of layers; a residual stream is a path in itself. Waits for the
    /// device.
    fn has_path(&self) -> Result<bool> {
        let Some(chain) = self.model.graph().chain() else { return Ok(true) };
        let mut topologies = Vec::new();
        for param in chain {
            if let Some(weight) = self.model.store().get(param).weight().sparse() {
                topologies.push(weight.pattern().topology(&self.gpu)?);
            }
        }
        Ok(sparse::connects(&topologies))
    }

    /// Signs in the numbers of a run that is over.
    pub(super) fn judge(&self, train: Evaluation, test: Evaluation) -> Vec<String> {
        let labels = self.data.test.rows() * self.batch.labels_per_row();
        match self.data.test.majority() {
            Some(majority) if self.objective.counts_hits() => {
                judge(self.data.classes, labels, majority, train, test)
            }
            _ if test.r2.is_some_and(|r2| r2 <= 0.0) => vec![
                "the test error is no smaller than that of always answering with the mean of the targets"
                    .to_owned(),
            ],
            _ => Vec::new(),
        }
    }
}

/// Signs that a network does no better than guessing, in `labels` test labels of which the most frequent has the share `majority`.
fn judge(classes: usize, labels: usize, majority: f64, train: Evaluation, test: Evaluation) -> Vec<String> {
    let mut notices = Vec::new();
    let guess = (classes as f64).ln();
    if train.loss > guess {
        notices.push(format!(
            "the training loss, {:.4}, is above that of guessing, ln {classes} = {guess:.4}: the run has diverged or has \
             not begun to learn; try a smaller --lr",
            train.loss
        ));
    }
    // Three standard deviations of the share that is met by chance.
    let chance = majority + 3.0 * (majority * (1.0 - majority) / labels.max(1) as f64).sqrt();
    if test.accuracy <= chance {
        notices.push(format!(
            "test accuracy, {:.4}, is no better, but for chance in {labels} labels, than that of always answering with the \
             most frequent class, {majority:.4}",
            test.accuracy
        ));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(train_loss: f64, accuracy: f64) -> String {
        let train = Evaluation { loss: train_loss, accuracy, ..Evaluation::NONE };
        judge(10, 1000, 0.1, train, Evaluation { loss: 1.0, accuracy, ..Evaluation::NONE }).join("\n")
    }

    #[test]
    fn guessing_is_noticed() {
        assert_eq!(judged(0.3, 0.9), "");
        assert!(judged(31.0, 0.9).contains("31.0000, is above that of guessing, ln 10 = 2.3026"));
        // The standard deviation is 0.0095.
        assert!(judged(0.3, 0.128).contains("no better"));
        assert_eq!(judged(0.3, 0.13), "");
        assert_eq!(judged(f64::NAN, 0.9), "");
    }
}
