//! Error bounds of f32 results, and comparison against them.

/// The unit roundoff of f32.
pub const UNIT: f64 = 1.0 / 16_777_216.0;

/// `k u / (1 - k u)`: the bound on the relative error of `k` roundings in a row (Higham, "Accuracy and Stability of
/// Numerical Algorithms", lemma 3.1). A sum of `k` products errs by at most this times the sum of their magnitudes.
pub fn gamma(k: usize) -> f64 {
    let ku = k as f64 * UNIT;
    ku / (1.0 - ku)
}

/// An element whose error exceeds its bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mismatch {
    /// Index of the element.
    pub index: usize,
    /// Computed value.
    pub found: f64,
    /// Expected value.
    pub wanted: f64,
    /// Largest admissible difference.
    pub bound: f64,
}

/// Compares elementwise. Returns the largest error relative to its bound.
///
/// # Errors
/// [`Mismatch`] for the worst element that errs by more than its bound. NaN is further than any bound.
pub fn compare(found: &[f32], wanted: &[f64], bound: impl Fn(usize) -> f64) -> Result<f64, Mismatch> {
    assert_eq!(found.len(), wanted.len(), "results of different length cannot be compared");
    let mut worst: f64 = 0.0;
    let mut mismatch = None;
    for (index, (&found, &wanted)) in found.iter().zip(wanted).enumerate() {
        let (found, bound) = (f64::from(found), bound(index));
        let error = (found - wanted).abs();
        // Exact results pass even where the bound is 0.
        let share = match error / bound {
            _ if error == 0.0 => 0.0,
            share if share.is_nan() => f64::INFINITY,
            share => share,
        };
        if share > 1.0 && share > worst {
            mismatch = Some(Mismatch { index, found, wanted, bound });
        }
        worst = worst.max(share);
    }
    mismatch.map_or(Ok(worst), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_and_close_results_pass() {
        assert_eq!(compare(&[1.0, 0.0], &[1.0, 0.0], |_| 0.0), Ok(0.0));
        assert!(compare(&[1.0 + 1e-7], &[1.0], |_| 2e-7).is_ok());
    }

    #[test]
    fn wrong_results_do_not() {
        assert_eq!(compare(&[1.0, 2.0], &[1.0, 3.0], |_| 0.5).unwrap_err().index, 1);
        assert!(compare(&[f32::NAN], &[0.0], |_| f64::MAX).is_err());
        assert!(compare(&[f32::INFINITY], &[0.0], |_| f64::MAX).is_err());
        assert!(compare(&[f32::NAN, 0.0], &[0.0, 0.0], |_| 1.0).is_err());
        assert!(compare(&[1e-30], &[0.0], |_| 0.0).is_err());
    }
}
