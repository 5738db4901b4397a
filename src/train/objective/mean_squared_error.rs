//! Mean squared error.

use super::{LossPass, Objective, single};
use crate::data::Targets;
use crate::gpu::Recorder;
use crate::{Result, ops};

/// Mean squared error over the columns of each row, and over the rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanSquaredError;

impl Objective for MeanSquaredError {
    fn name(&self) -> &'static str {
        "mean-squared-error"
    }

    fn targets(&self, outputs: &[Vec<usize>]) -> Result<Targets> {
        single(self.name(), outputs).map(|[_, columns]| Targets::Values(columns))
    }

    fn is_squared_error(&self) -> bool {
        true
    }

    fn record(&self, rec: &mut Recorder<'_>, pass: &LossPass<'_>) -> Result<()> {
        let LossPass { outputs, output_grads, targets, report, step, .. } = *pass;
        let report = report.reshape(&report.shape()[..1])?;
        ops::mse(rec, outputs[0], targets, &report, output_grads[0], step)
    }
}
