//! Loss and accuracy of a network on the test rows and on the validation rows.

use std::collections::VecDeque;

use super::steps::IN_FLIGHT;
use super::{Evaluation, Trainer};
use crate::Result;
use crate::data::{Encoding, Rows, TargetKind};
use crate::ops::StepValues;

/// Rows that a network is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Test,
    /// The validation rows; none where the data has none.
    Validation,
}

impl Trainer {
    /// Loss and accuracy over the test rows. Waits for the device. A checkpoint is written only after this has seen the
    /// weights at work, so that one with weights that are not finite never replaces a good one.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) naming the layer, [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn evaluate(&mut self) -> Result<Evaluation> {
        let evaluation = self.measure(Part::Test)?;
        self.signs = self.read_signs()?;
        Ok(evaluation)
    }

    /// Loss and accuracy over a part of the rows. Waits for the device.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`].
    pub(super) fn measure(&mut self, part: Part) -> Result<Evaluation> {
        let before = [self.position.loss_sum, self.position.hits];
        self.gpu.write(&self.batch.buffers.totals, &[0.0f32; 2])?;
        self.gpu.write(&self.batch.buffers.activity, &vec![0u32; self.batch.buffers.activity.len()])?;
        if let Some(by_network) = &self.batch.buffers.by_network {
            self.gpu.write(by_network, &vec![0.0f32; by_network.len()])?;
        }
        let data = match part {
            Part::Test => Some(&self.data.test),
            Part::Validation => self.data.validation.as_ref(),
        };
        let rows: Vec<u32> = (0..data.map_or(0, Rows::rows) as u32).collect();
        let mut in_flight =
            VecDeque::from([self.gpu.run(&self.plans.refresh)?, self.gpu.run(&self.plans.empty)?]);
        for members in rows.chunks(self.settings.pass_rows()) {
            if let Some(data) = data {
                self.batch.load(&self.gpu, data, members, StepValues::forward(0))?;
            }
            in_flight.push_back(self.gpu.run(&self.plans.test)?);
            if in_flight.len() > IN_FLIGHT
                && let Some(oldest) = in_flight.pop_front()
            {
                self.gpu.pace(oldest)?;
            }
        }
        let totals = self.gpu.read::<f32>(&self.batch.buffers.totals)?.wait()?;
        let status = self.gpu.read::<u32>(&self.batch.buffers.status)?.wait()?;
        self.check(&status, self.position.step.saturating_sub(1))?;
        self.gpu.write(&self.batch.buffers.totals, &before)?;
        let count = (rows.len() * self.batch.test_losses_per_row()) as f64;
        let evaluation = self.evaluation(&totals, count, data.unwrap_or(&self.data.test));
        self.read_networks(part, rows.len())?;
        Ok(evaluation)
    }

    /// Means over `count` labels, of `rows`, of the totals of losses and hits; an accuracy of NaN where the objective counts no hits.
    pub(super) fn evaluation(&self, totals: &[f32], count: f64, rows: &Rows) -> Evaluation {
        let mean = |total: f32| f64::from(total) / count;
        let accuracy = if self.objective.counts_hits() { mean(totals[1]) } else { f64::NAN };
        let loss = mean(totals[0]);
        let variance = rows.variance().filter(|_| self.objective.is_squared_error());
        Evaluation {
            loss,
            accuracy,
            rmse: variance.map(|_| loss.sqrt() * self.unit()),
            r2: variance.filter(|&variance| variance > 0.0).map(|variance| 1.0 - loss / variance),
        }
    }

    /// The standard deviation of a regression's targets, in their own units; 1 where they were not standardised.
    fn unit(&self) -> f64 {
        let table = self.data.encoding.as_ref().and_then(Encoding::table);
        match table.map(|table| &table.target.kind) {
            Some(TargetKind::Values(standard)) => standard.deviation,
            _ => 1.0,
        }
    }
}
