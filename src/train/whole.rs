//! Ensembles: the mean of the probabilities of their networks.

use super::calibration::Calibration;
use super::metrics::{largest, nll, softmax};
use super::{NetworkScore, Trainer, Whole};
use crate::Result;
use crate::data::Rows;
use crate::nn::{ModelConfig, Together};
use crate::ops::{IGNORED, SideBySide, StepValues};

/// Logits of each network for a row of the outputs, each output `[rows, networks * columns]`.
pub(super) fn of_row<'a>(
    outputs: &'a [Vec<f32>],
    networks: &'a [SideBySide],
    row: usize,
) -> impl Iterator<Item = &'a [f32]> {
    outputs.iter().zip(networks).flat_map(move |(logits, of)| {
        let width = of.networks * of.columns;
        let row = &logits[row * width..(row + 1) * width];
        row.chunks(of.columns).map(|logits| &logits[..of.classes])
    })
}

/// Logarithms of the mean over networks of the probabilities of each class: logits of the ensemble.
pub(super) fn mean_logits<'a>(networks: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut terms: Vec<Vec<f64>> = Vec::new();
    for logits in networks {
        terms.resize(logits.len(), Vec::new());
        for (class, terms) in terms.iter_mut().enumerate() {
            terms.push(-nll(logits, class));
        }
    }
    let mean = |terms: &Vec<f64>| {
        let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = terms.iter().map(|term| (term - most).exp()).sum();
        (most + (sum / terms.len() as f64).ln()) as f32
    };
    terms.iter().map(mean).collect()
}

/// Sums over rows of the scores of an ensemble and of its networks.
#[derive(Debug, Default)]
pub(super) struct Scores {
    networks: Vec<Predictions>,
    whole: Predictions,
}

/// Losses and hits of one predictor.
#[derive(Debug, Clone, Default)]
struct Predictions {
    loss: f64,
    /// Confidence of each prediction, and whether it is right.
    made: Vec<(f64, bool)>,
}

impl Predictions {
    fn add(&mut self, logits: &[f32], label: usize) {
        let class = largest(logits);
        self.loss += nll(logits, label);
        self.made.push((softmax(logits)[class], class == label));
    }

    fn loss(&self) -> f64 {
        self.loss / self.made.len() as f64
    }

    fn accuracy(&self) -> f64 {
        self.made.iter().filter(|(_, right)| *right).count() as f64 / self.made.len() as f64
    }
}

impl Scores {
    /// Adds a row: the logits of each network, and the label.
    pub(super) fn add<'a>(&mut self, networks: impl Iterator<Item = &'a [f32]> + Clone, label: usize) {
        for (number, logits) in networks.clone().enumerate() {
            if number == self.networks.len() {
                self.networks.push(Predictions::default());
            }
            self.networks[number].add(logits, label);
        }
        self.whole.add(&mean_logits(networks), label);
    }

    /// Scores of the networks, and of the whole.
    pub(super) fn finish(self) -> (Vec<NetworkScore>, Whole) {
        let score = |of: &Predictions| NetworkScore {
            loss: of.loss(),
            accuracy: of.accuracy(),
            ece: Some(Calibration::of(of.made.iter().copied()).ece),
        };
        let networks = self.networks.iter().map(score).collect();
        let whole = Whole {
            loss: self.whole.loss(),
            accuracy: self.whole.accuracy(),
            calibration: Calibration::of(self.whole.made.iter().copied()),
            of_networks: Calibration::of(self.networks.iter().flat_map(|of| of.made.iter().copied())),
        };
        (networks, whole)
    }
}

impl Trainer {
    /// Scores of an ensemble and of its networks over the test rows, into the scores of the networks; nothing for networks that are no
    /// ensemble. Waits for the device.
    pub(super) fn test_ensemble(&mut self) -> Result<()> {
        let ModelConfig::Mlps(config) = &self.settings.model else { return Ok(()) };
        if config.together != Together::Ensemble || matches!(self.data.test, Rows::Text(_)) {
            return Ok(());
        }
        let networks = config.side_by_side();
        let rows: Vec<u32> = (0..self.data.test.rows() as u32).collect();
        let before = [self.position.loss_sum, self.position.hits];
        let mut scores = Scores::default();
        for members in rows.chunks(self.settings.pass_rows()) {
            self.batch.load(&self.gpu, &self.data.test, members, StepValues::forward(0))?;
            self.gpu.run(&self.plans.test)?;
            let read = |tensor| self.gpu.read::<f32>(tensor)?.wait();
            let outputs = self.model.outputs().into_iter().map(read).collect::<Result<Vec<_>>>()?;
            for (row, &class) in
                self.batch.classes().iter().enumerate().filter(|(_, class)| **class != IGNORED)
            {
                scores.add(of_row(&outputs, &networks, row).collect::<Vec<_>>().into_iter(), class as usize);
            }
        }
        self.gpu.write(&self.batch.buffers.totals, &before)?;
        let (test, whole) = scores.finish();
        (self.networks.test, self.networks.whole) = (test, Some(whole));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two networks that are sure of different classes, and both give the third a tenth: (0.8 + 0.1) / 2, twice, and 0.1.
    #[test]
    fn probabilities_are_averaged_and_not_logits() {
        let logits = |shares: [f32; 3]| shares.map(f32::ln);
        let networks = [logits([0.8, 0.1, 0.1]), logits([0.1, 0.8, 0.1])];
        let mean = mean_logits(networks.iter().map(<[f32; 3]>::as_slice));
        for (found, wanted) in softmax(&mean).into_iter().zip([0.45, 0.45, 0.1]) {
            assert!((found - wanted).abs() < 1e-6, "{mean:?}");
        }
        // Far apart, no class has the logarithm of 0.
        let far = [[500.0, -500.0], [-500.0, -500.0]];
        assert!(mean_logits(far.iter().map(<[f32; 2]>::as_slice)).iter().all(|logit| logit.is_finite()));
    }

    /// Columns that pad a network are skipped; two outputs follow each other.
    #[test]
    fn logits_of_a_row_are_found() {
        let of = |networks, begin| SideBySide {
            networks,
            begin,
            all: 3,
            classes: 2,
            columns: 4,
            shared_out: false,
        };
        let outputs =
            [(0..16).map(|at| at as f32).collect(), (20..28).map(|at| at as f32).collect::<Vec<_>>()];
        let networks = [of(2, 0), of(1, 2)];
        let found: Vec<_> = of_row(&outputs, &networks, 1).collect();
        assert_eq!(found, [[8.0, 9.0], [12.0, 13.0], [24.0, 25.0]]);
    }
}
