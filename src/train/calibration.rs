//! Calibration: how often predictions of a confidence are right.

use serde::{Deserialize, Serialize};

/// Bins of equal width that confidences are counted in.
const BINS: usize = 15;

/// Predictions by their confidence, the probability of the likeliest class, in 15 bins of equal width (Guo et al. 2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: the mean over predictions of the distance, within their bin, of the share that is right from the mean
    /// confidence.
    pub ece: f64,
    /// The bins, in ascending order of confidence.
    pub bins: Vec<Bin>,
}

/// Predictions whose confidence is in one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Number of predictions.
    pub count: u64,
    /// Mean confidence; 0 without predictions.
    pub confidence: f64,
    /// Share of predictions that are right; 0 without predictions.
    pub accuracy: f64,
}

impl Calibration {
    /// Of predictions, each with its confidence and whether it is right.
    pub fn of(predictions: impl IntoIterator<Item = (f64, bool)>) -> Self {
        let mut sums = [(0u64, 0.0f64, 0u64); BINS];
        for (confidence, right) in predictions {
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            let (count, sum, hits) = &mut sums[bin];
            *count += 1;
            *sum += confidence;
            *hits += u64::from(right);
        }
        let all: u64 = sums.iter().map(|&(count, ..)| count).sum();
        let bin = |&(count, sum, hits): &(u64, f64, u64)| match count {
            0 => Bin::default(),
            _ => Bin { count, confidence: sum / count as f64, accuracy: hits as f64 / count as f64 },
        };
        let bins: Vec<Bin> = sums.iter().map(bin).collect();
        let gap = |bin: &Bin| bin.count as f64 * (bin.accuracy - bin.confidence).abs();
        Self { ece: bins.iter().map(gap).sum::<f64>() / all.max(1) as f64, bins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three predictions of confidence 0.9, of which two are right, and one of 0.3 that is wrong: (3 |2/3 - 0.9| + 0.3) / 4.
    #[test]
    fn the_error_of_four_predictions_by_hand() {
        let found = Calibration::of([(0.9, true), (0.9, false), (0.3, false), (0.9, true)]);
        assert!((found.ece - (3.0 * (0.9 - 2.0 / 3.0) + 0.3) / 4.0).abs() < 1e-12, "{}", found.ece);
        assert_eq!(found.bins.len(), BINS);
        let filled: Vec<_> = found.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0).collect();
        assert_eq!(filled.iter().map(|(at, bin)| (*at, bin.count)).collect::<Vec<_>>(), [(4, 1), (13, 3)]);
        // Certain and right.
        assert_eq!(Calibration::of([(1.0, true); 3]).ece, 0.0);
        assert_eq!(Calibration::of([]).ece, 0.0);
    }
}
