//! Scores of networks that are trained together, and their ranking.

use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::evaluate::Part;
use super::record::number_or_nan;
use super::{Evaluation, Trainer};
use crate::Result;

/// Scores of one network over some rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NetworkScore {
    /// Mean cross-entropy, in nats.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Share of rows whose largest logit is their label's.
    #[serde(deserialize_with = "number_or_nan")]
    pub accuracy: f64,
    /// Expected calibration error, where it was computed: in ensembles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece: Option<f64>,
}

/// Scores of networks that are trained together, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkScores {
    /// Over the test rows.
    pub test: Vec<NetworkScore>,
    /// Over the validation rows; none where none are set aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<NetworkScore>,
    /// Of the ensemble over the test rows, where the networks are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Whole>,
}

/// Scores of an ensemble: of the mean of its networks' probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of rows whose most probable class is their label.
    pub accuracy: f64,
    /// Calibration of the probabilities.
    pub calibration: Calibration,
    /// Calibration of the networks' own probabilities, of all together.
    pub of_networks: Calibration,
}

impl NetworkScores {
    /// Numbers of the networks from the best to the worst: by the validation loss where rows are set aside, by the test loss where
    /// not; among equals the smaller number first, and losses that are no numbers last.
    pub fn ranking(&self) -> Vec<usize> {
        let scores = if self.validation.is_empty() { &self.test } else { &self.validation };
        let mut ranking: Vec<usize> = (0..scores.len()).collect();
        ranking.sort_by(|&a, &b| scores[a].loss.total_cmp(&scores[b].loss));
        ranking
    }
}

impl Trainer {
    /// Scores of each network over the rows that were measured last; none of a network alone. Waits for the device.
    pub(super) fn read_networks(&mut self, part: Part, rows: usize) -> Result<()> {
        let Some(totals) = &self.batch.buffers.by_network else { return Ok(()) };
        let totals = self.gpu.read::<f32>(totals)?.wait()?;
        let mean = |total: f32| f64::from(total) / rows as f64;
        let score =
            |totals: &[f32]| NetworkScore { loss: mean(totals[0]), accuracy: mean(totals[1]), ece: None };
        let scores = totals.chunks(2).map(score).collect();
        match part {
            Part::Test => self.networks = NetworkScores { test: scores, ..NetworkScores::default() },
            Part::Validation => self.networks.validation = scores,
        }
        Ok(())
    }

    /// Scores of the networks in the last test and validation; `None` for a network alone.
    pub fn network_scores(&self) -> Option<&NetworkScores> {
        (!self.networks.test.is_empty()).then_some(&self.networks)
    }
}

impl From<Evaluation> for NetworkScore {
    fn from(of: Evaluation) -> Self {
        Self { loss: of.loss, accuracy: of.accuracy, ece: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_ranked_by_validation_and_what_is_no_number_is_last() {
        let scores = |losses: &[f64]| {
            let score = |&loss: &f64| NetworkScore { loss, accuracy: 0.5, ece: None };
            losses.iter().map(score).collect::<Vec<_>>()
        };
        let test = scores(&[0.3, f64::NAN, 0.1, 0.3]);
        let mut networks = NetworkScores { test, ..NetworkScores::default() };
        assert_eq!(networks.ranking(), [2, 0, 3, 1]);
        networks.validation = scores(&[0.2, 0.1, 0.4, 0.3]);
        assert_eq!(networks.ranking(), [1, 0, 3, 2]);
    }
}
