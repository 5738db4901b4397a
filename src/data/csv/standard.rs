//! Standardisation of a column: less its mean, over its standard deviation.

/// Mean and population standard deviation of a column's training rows, in f64.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Standard {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; 0 for a column that counts as constant.
    pub deviation: f64,
}

/// A deviation of at most this share of the column's largest magnitude is rounding noise: the column counts as constant.
const NOISE: f64 = 1e-9;

/// A column whose magnitudes are all below this counts as constant: the deviation would not be a normal number.
const SMALLEST: f64 = 1e-290;

/// Standardised features are clamped to this many deviations on either side of the mean, so that an outlier in new rows does not
/// drown every other feature.
const MOST_DEVIATIONS: f64 = 20.0;

impl Standard {
    /// Of these numbers; NaN stands for a missing one and does not count.
    pub(super) fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        let present = numbers.filter(|number| !number.is_nan());
        let count = present.clone().count() as f64;
        let largest = present.clone().fold(0.0, |largest: f64, number| largest.max(number.abs()));
        if count == 0.0 || largest < SMALLEST {
            return Self::default();
        }
        // Scaled by a power of two, which rounds nothing, so that neither the sum nor a square overflows.
        let unit = power_of_two(largest);
        let scaled = present.map(|number| number / unit);
        let mean = scaled.clone().sum::<f64>() / count;
        let variance = scaled.map(|number| (number - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt() * unit;
        Self { mean: mean * unit, deviation: if deviation <= NOISE * largest { 0.0 } else { deviation } }
    }

    /// Deviations from the mean; 0 where the column counts as constant.
    pub(super) fn standardised(self, number: f64) -> f64 {
        if self.deviation == 0.0 {
            return 0.0;
        }
        let unit = power_of_two(self.deviation);
        (number / unit - self.mean / unit) * (1.0 / (self.deviation / unit))
    }

    /// The feature of a number: its standardised value, clamped to 20 deviations; the mean, 0, where it is missing (NaN).
    pub(super) fn feature(self, number: f64) -> f32 {
        let deviations = self.standardised(number).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS);
        if deviations.is_nan() { 0.0 } else { deviations as f32 }
    }

    /// The number that is `deviations` from the mean: the inverse of standardisation.
    pub fn value(self, deviations: f64) -> f64 {
        self.mean + self.deviation * deviations
    }

    /// Whether both are finite, and the deviation is not negative.
    pub(super) fn is_sound(self) -> bool {
        self.mean.is_finite() && self.deviation.is_finite() && self.deviation >= 0.0
    }
}

/// The largest power of two that is at most a positive normal number.
fn power_of_two(number: f64) -> f64 {
    f64::from_bits(number.to_bits() & 0x7FF0_0000_0000_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nine times 0.1 over 9 is not 0.1, and a deviation far below the column's magnitude is noise.
    #[test]
    fn what_is_constant_but_for_rounding_is_zero() {
        let noise: Vec<f64> = (0..800).map(|row| 0.1 + f64::from(row % 2) * 1e-12).collect();
        for column in [vec![0.1; 9], vec![0.0; 4], vec![1e-300, 1e-299], noise] {
            let standard = Standard::of(column.iter().copied());
            assert_eq!(standard.deviation, 0.0, "{standard:?}");
            assert_eq!([column[0], 1.0, -1e300].map(|number| standard.feature(number)), [0.0; 3]);
        }
        // A time stamp of a day in seconds since 1970 is no noise.
        let day = Standard::of([1.7e9, 1.7e9 + 3600.0].into_iter());
        assert_eq!(day.feature(1.7e9), -1.0);
    }

    #[test]
    fn any_finite_magnitude_is_standardised() {
        for unit in [1e-280, 1e-30, 1.0, 1e200, 1e307] {
            let standard = Standard::of([1.0, 2.0, 3.0, f64::NAN, 6.0].map(|x| x * unit).into_iter());
            // Mean 3, variance (4 + 1 + 0 + 9) / 4.
            let wanted = [-2.0, 0.0, 3.0].map(|z| (z / 3.5f64.sqrt()) as f32);
            let found = [1.0, 3.0, 6.0].map(|x| standard.feature(x * unit));
            for (found, wanted) in found.into_iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-6, "{unit:e}: {found} is not {wanted}");
            }
            assert_eq!(standard.feature(f64::NAN), 0.0);
            // An outlier of new rows is clamped, and overflows nothing.
            if unit <= 1e200 {
                assert_eq!([f64::MAX, f64::MIN].map(|x| standard.feature(x)), [20.0, -20.0]);
            }
        }
    }

    #[test]
    fn ordinary_columns_have_the_bits_of_the_plain_formula() {
        let column: Vec<f64> = (0..97).map(|i| f64::from(i * i % 89) * 0.37 - 11.0).collect();
        let count = column.len() as f64;
        let mean = column.iter().sum::<f64>() / count;
        let deviation = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        let standard = Standard::of(column.iter().copied());
        assert_eq!((standard.mean, standard.deviation), (mean, deviation));
        for x in column {
            assert_eq!(standard.feature(x), ((x - mean) * (1.0 / deviation)) as f32);
            assert!((standard.value(standard.standardised(x)) - x).abs() < 1e-12);
        }
    }
}
