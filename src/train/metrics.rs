//! Metrics of predictions, on the host in f64.

use crate::{Error, Result};

/// Metrics of a classification.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ClassMetrics {
    /// Rows, or bytes.
    pub rows: usize,
    /// Share of rows whose likeliest class is their label.
    pub accuracy: f64,
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Unweighted mean of the F1 of all classes, those without a row and without a prediction included, as 0.
    pub macro_f1: f64,
    /// Area under the ROC curve of the second of two classes; `None` for more classes, or where one of the two has no row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auc: Option<f64>,
    /// Metrics of each class, in the order of their numbers.
    pub classes: Vec<PerClass>,
    /// Rows by label (first index) and predicted class (second index).
    pub confusion: Vec<Vec<usize>>,
}

/// Metrics of one class; a share of nothing is 0.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PerClass {
    /// Share of the predictions of this class that are right.
    pub precision: f64,
    /// Share of the rows of this class that are predicted.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Rows of this class.
    pub rows: usize,
}

impl ClassMetrics {
    /// Of logits `[rows, classes]` and the label of each row.
    ///
    /// # Errors
    /// [`Error::Argument`] where the sizes do not match, or a label is none of the classes.
    pub fn of(logits: &[f32], labels: &[u32], classes: usize) -> Result<Self> {
        let stray = labels.iter().find(|&&label| label as usize >= classes);
        if labels.is_empty() || Some(logits.len()) != labels.len().checked_mul(classes) || stray.is_some() {
            let wanted = format!("{} rows of {classes} logits, with labels below", labels.len());
            let found = format!("{} logits, and the label {stray:?}", logits.len());
            return Err(Error::argument("ClassMetrics", "logits", wanted, found));
        }
        let mut confusion = vec![vec![0usize; classes]; classes];
        let (mut loss, mut second) = (0.0, Vec::new());
        for (logits, &label) in logits.chunks(classes).zip(labels) {
            let label = label as usize;
            confusion[label][largest(logits)] += 1;
            loss += nll(logits, label);
            if classes == 2 {
                second.push((f64::from(logits[1]) - f64::from(logits[0]), label == 1));
            }
        }
        let hits: usize = (0..classes).map(|class| confusion[class][class]).sum();
        let per_class: Vec<PerClass> = (0..classes).map(|class| PerClass::of(&confusion, class)).collect();
        Ok(Self {
            rows: labels.len(),
            accuracy: share(hits, labels.len()),
            loss: loss / labels.len() as f64,
            macro_f1: per_class.iter().map(|class| class.f1).sum::<f64>() / classes as f64,
            auc: if classes == 2 { area_under_roc(&mut second) } else { None },
            classes: per_class,
            confusion,
        })
    }
}

impl PerClass {
    fn of(confusion: &[Vec<usize>], class: usize) -> Self {
        let hits = confusion[class][class];
        let rows: usize = confusion[class].iter().sum();
        let predicted: usize = confusion.iter().map(|row| row[class]).sum();
        Self {
            precision: share(hits, predicted),
            recall: share(hits, rows),
            f1: share(2 * hits, rows + predicted),
            rows,
        }
    }
}

/// Cross-entropy of one row, in nats.
pub(super) fn nll(logits: &[f32], label: usize) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum();
    sum.ln() + most - f64::from(logits[label])
}

/// Probabilities of logits.
pub(super) fn softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Place of the largest number, the first in a tie.
pub(super) fn largest<T: PartialOrd>(numbers: &[T]) -> usize {
    let better = |best: usize, place: usize| if numbers[place] > numbers[best] { place } else { best };
    (0..numbers.len()).fold(0, better)
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// Probability that a row of the second class has a higher score than one of the first, a tie counting half.
fn area_under_roc(scores: &mut [(f64, bool)]) -> Option<f64> {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scores.iter().filter(|(_, positive)| *positive).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut below, mut area) = (0.0, 0.0);
    for ties in scores.chunk_by(|a, b| a.0 == b.0) {
        let positive = ties.iter().filter(|(_, positive)| *positive).count() as f64;
        let negative = ties.len() as f64 - positive;
        area += positive * (below + negative / 2.0);
        below += negative;
    }
    Some(area / (positives as f64 * negatives as f64))
}

/// Metrics of a regression, in the units of the target.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ValueMetrics {
    /// Rows.
    pub rows: usize,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Coefficient of determination: 1 - squared error / squared deviation from the mean of these targets; `None` where they are
    /// all equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

impl ValueMetrics {
    /// Of predictions and targets.
    ///
    /// # Errors
    /// [`Error::Argument`] where there are not as many of both, or none.
    pub fn of(predicted: &[f64], targets: &[f64]) -> Result<Self> {
        if targets.is_empty() || predicted.len() != targets.len() {
            let wanted = format!("{} and at least one", targets.len());
            return Err(Error::argument("ValueMetrics", "predicted", wanted, predicted.len()));
        }
        let count = targets.len() as f64;
        let mean = targets.iter().sum::<f64>() / count;
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            predicted.iter().zip(targets).map(|(&found, &wanted)| term(found, wanted)).sum()
        };
        let squared = sum(&|found, wanted| (found - wanted).powi(2));
        let spread = sum(&|_, wanted| (wanted - mean).powi(2));
        Ok(Self {
            rows: targets.len(),
            rmse: (squared / count).sqrt(),
            mae: sum(&|found, wanted| (found - wanted).abs()) / count,
            r2: (spread > 0.0).then(|| 1.0 - squared / spread),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-12, "{found} is not {wanted}");
    }

    /// By hand: confusion [[1, 1, 0], [0, 2, 0], [1, 0, 0]].
    #[test]
    fn three_classes_by_hand() {
        let row = |class: usize| [0, 1, 2].map(|other| if other == class { 2.0 } else { 0.0 });
        let logits: Vec<f32> = [0, 1, 1, 1, 0].into_iter().flat_map(row).collect();
        let metrics = ClassMetrics::of(&logits, &[0, 0, 1, 1, 2], 3).unwrap();
        assert_eq!(metrics.confusion, [[1, 1, 0], [0, 2, 0], [1, 0, 0]]);
        near(metrics.accuracy, 0.6);
        let [zero, one, two] = metrics.classes[..] else { panic!() };
        near(zero.precision, 0.5);
        near(zero.recall, 0.5);
        near(zero.f1, 0.5);
        near(one.precision, 2.0 / 3.0);
        near(one.recall, 1.0);
        near(one.f1, 0.8);
        assert_eq!([two.precision, two.recall, two.f1], [0.0; 3]);
        assert_eq!([zero.rows, one.rows, two.rows], [2, 2, 1]);
        near(metrics.macro_f1, 1.3 / 3.0);
        let sum = (2f64.exp() + 2.0).ln();
        near(metrics.loss, (3.0 * (sum - 2.0) + 2.0 * sum) / 5.0);
        assert_eq!(metrics.auc, None);
        assert!(ClassMetrics::of(&logits, &[0, 0, 1, 1, 3], 3).is_err());
        assert!(ClassMetrics::of(&logits, &[0, 0, 1, 1], 3).is_err());
    }

    /// `sklearn.metrics.roc_auc_score([0, 0, 1, 1, 0], [0.1, 0.4, 0.35, 0.8, 0.8])`: of six pairs 3.5 are in order.
    #[test]
    fn the_area_under_the_curve_counts_pairs() {
        let logits: Vec<f32> =
            [0.1, 0.4, 0.35, 0.8, 0.8].into_iter().flat_map(|score| [0.0, score]).collect();
        let metrics = ClassMetrics::of(&logits, &[0, 0, 1, 1, 0], 2).unwrap();
        near(metrics.auc.unwrap(), 3.5 / 6.0);
        assert_eq!(ClassMetrics::of(&logits[..4], &[1, 1], 2).unwrap().auc, None);
    }

    /// Errors 1, -1, 2 and 0 of the targets 1, 2, 3, 6, whose squared deviations from 3 sum to 14.
    #[test]
    fn a_regression_by_hand() {
        let metrics = ValueMetrics::of(&[2.0, 1.0, 5.0, 6.0], &[1.0, 2.0, 3.0, 6.0]).unwrap();
        near(metrics.rmse, 1.5f64.sqrt());
        near(metrics.mae, 1.0);
        near(metrics.r2.unwrap(), 1.0 - 6.0 / 14.0);
        assert_eq!(ValueMetrics::of(&[1.0, 2.0], &[5.0, 5.0]).unwrap().r2, None);
        assert!(ValueMetrics::of(&[1.0], &[]).is_err());
    }

    #[test]
    fn probabilities_sum_to_one_for_any_logits() {
        for logits in [[0.0, 0.0], [1000.0, -1000.0], [-1e30, -1e30]] {
            near(softmax(&logits).iter().sum(), 1.0);
        }
        // The logit is rounded to f32.
        assert!((softmax(&[0.0, f32::ln(3.0)])[1] - 0.75).abs() < 1e-7);
    }

    #[test]
    fn the_first_of_equals_is_the_largest() {
        assert_eq!(largest(&[0.5, 2.0, -1.0, 2.0]), 1);
        assert_eq!(largest(&[-3.0]), 0);
        assert_eq!(largest(&[-3.0, -2.0]), 1);
    }
}
