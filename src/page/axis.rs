//! An axis with ticks at round numbers.

/// A stretch of numbers, and the distance from tick to tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

/// More ticks than any axis has: what numbers too close for f64 would give is cut off here.
const MOST: usize = 16;

impl Axis {
    /// From a tick to a tick, about `ticks` of them, around everything from `low` to `high`.
    pub(crate) fn around([low, high]: [f64; 2], ticks: usize) -> Self {
        let step = round_step((high - low) / ticks as f64);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// Exactly from `low` to `high`, with at most `ticks` ticks, all at whole numbers.
    pub(crate) fn whole([low, high]: [f64; 2], ticks: usize) -> Self {
        let step = round_step((high - low) / ticks as f64).max(1.0);
        // A single epoch stands in the middle.
        let margin = if high > low { 0.0 } else { 0.5 };
        Self { low: low - margin, high: high + margin, step }
    }

    /// Where a number is, from 0 to 1.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let length = self.high - self.low;
        if length > 0.0 { (value - self.low) / length } else { 0.5 }
    }

    pub(crate) fn ticks(&self) -> Vec<f64> {
        let (first, last) = ((self.low / self.step - 1e-9).ceil(), (self.high / self.step + 1e-9).floor());
        (0..MOST)
            .map(|tick| first + tick as f64)
            .take_while(|&tick| tick <= last)
            // Without a minus before a zero.
            .map(|tick| tick * self.step + 0.0)
            .collect()
    }

    /// Decimals that tell ticks apart, where numbers are shown `scale` times as large.
    pub(crate) fn decimals(&self, scale: f64) -> usize {
        (-(self.step * scale).log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize
    }
}

/// 1, 2 or 5 times a power of 10, and at least `least`.
fn round_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= least * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let axis = Axis::around([0.44, 0.983], 5);
        let ticks: Vec<_> = axis.ticks().into_iter().map(|tick| format!("{tick:.1}")).collect();
        assert_eq!(ticks, ["0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(axis.decimals(1.0), 1);
        assert_eq!(axis.decimals(100.0), 0);
        assert_eq!(Axis::whole([1.0, 40.0], 8).ticks(), [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0]);
        assert_eq!(Axis::whole([0.0, 5.0], 8).ticks(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn one_number_is_in_the_middle() {
        let axis = Axis::whole([3.0, 3.0], 8);
        assert_eq!((axis.ticks(), axis.place(3.0)), (vec![3.0], 0.5));
        assert!(Axis::whole([1.8e19, 1.8e19], 8).place(1.8e19).is_finite());
    }
}
