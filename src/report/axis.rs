//! Linear axis with ticks at round numbers.

/// Linear axis: its interval and the distance between ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

/// Upper bound on ticks. Steps below the resolution of f64 would give ticks without end.
const MOST: usize = 16;

impl Axis {
    /// Axis that begins and ends at a tick and contains `[low, high]`, with about `ticks` ticks.
    pub(super) fn around([low, high]: [f64; 2], ticks: usize) -> Self {
        let step = round_step((high - low) / ticks as f64);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// Axis of exactly `[low, high]`, with at most `ticks` ticks, all at whole numbers.
    pub(super) fn whole([low, high]: [f64; 2], ticks: usize) -> Self {
        let step = round_step((high - low) / ticks as f64).max(1.0);
        // A single epoch is drawn in the middle.
        let margin = if high > low { 0.0 } else { 0.5 };
        Self { low: low - margin, high: high + margin, step }
    }

    /// Position of a number on the axis, from 0 at its low end to 1 at its high end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let length = self.high - self.low;
        if length > 0.0 { (value - self.low) / length } else { 0.5 }
    }

    /// Values of the ticks, in ascending order.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (first, last) = ((self.low / self.step - 1e-9).ceil(), (self.high / self.step + 1e-9).floor());
        (0..MOST)
            .map(|tick| first + tick as f64)
            .take_while(|&tick| tick <= last)
            // Adding 0 turns -0 into 0, which is shown without a minus.
            .map(|tick| tick * self.step + 0.0)
            .collect()
    }

    /// Decimals that distinguish the ticks when they are shown multiplied by `scale`.
    pub(super) fn decimals(&self, scale: f64) -> usize {
        (-(self.step * scale).log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize
    }
}

/// Smallest of 1, 2 and 5 times a power of 10 that is at least `least`; 1 where `least` is not a positive number.
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
