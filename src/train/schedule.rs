//! The learning rate over a run.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// How the learning rate changes from the first step to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It does not.
    Constant,
    /// Half a cosine from the full rate to 0 (Loshchilov and Hutter 2017, without restarts).
    Cosine,
    /// Up from 1/25 of the rate over the first 30 % of steps, then down to 1/10,000 of that, both along half a cosine: the
    /// one-cycle policy (Smith 2018) with PyTorch's defaults.
    OneCycle,
}

impl Schedule {
    /// The rate of step `step` of `steps`, where `rate` is the full one.
    pub fn at(self, rate: f64, step: u64, steps: u64) -> f32 {
        // Half a cosine from `from` to `to`, for `done` in [0, 1].
        let ease = |from: f64, to: f64, done: f64| to + (from - to) * 0.5 * (1.0 + (PI * done).cos());
        let rate = match self {
            Self::Constant => rate,
            Self::Cosine => ease(rate, 0.0, step as f64 / steps.max(1) as f64),
            Self::OneCycle => {
                let last = steps as f64 - 1.0;
                // Not positive in runs of one to three steps, which have no warm-up.
                let peak = 0.3 * steps as f64 - 1.0;
                let start = rate / 25.0;
                if (step as f64) < peak {
                    ease(start, rate, step as f64 / peak)
                } else {
                    ease(rate, start / 1e4, (step as f64 - peak) / (last - peak))
                }
            }
        };
        rate as f32
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "constant" => Ok(Self::Constant),
            "cosine" => Ok(Self::Cosine),
            "one-cycle" => Ok(Self::OneCycle),
            other => Err(Error::Config {
                option: "schedule",
                reason: format!("{other:?} is none of constant, cosine, one-cycle"),
            }),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Cosine => "cosine",
            Self::OneCycle => "one-cycle",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.optim.lr_scheduler.OneCycleLR(max_lr=0.1, total_steps=10)`, to six digits.
    #[test]
    fn one_cycle_is_pytorchs() {
        let wanted =
            [0.004, 0.052, 0.1, 0.095_048, 0.081_174, 0.061_126, 0.038_874, 0.018_825, 0.004_952, 4e-7];
        for (step, wanted) in wanted.into_iter().enumerate() {
            let found = f64::from(Schedule::OneCycle.at(0.1, step as u64, 10));
            assert!((found - wanted).abs() < 2e-6, "step {step}: {found} is not {wanted}");
        }
    }

    /// `OneCycleLR(max_lr=1, total_steps=1)` and those of 2 to 4 steps: runs of up to three have no way up.
    #[test]
    fn one_cycle_is_pytorchs_in_short_runs() {
        let wanted: [&[f64]; 4] = [
            &[4e-6],
            &[0.811_745_654, 4e-6],
            &[0.994_415_435, 0.462_637_103, 4e-6],
            &[0.04, 0.811_745_654, 0.283_060_998, 4e-6],
        ];
        for (steps, wanted) in (1..).zip(wanted) {
            for (step, wanted) in wanted.iter().enumerate() {
                let found = f64::from(Schedule::OneCycle.at(1.0, step as u64, steps));
                assert!((found - wanted).abs() < 1e-6, "{step} of {steps}: {found} is not {wanted}");
            }
        }
    }

    #[test]
    fn a_cosine_falls_to_nothing() {
        assert_eq!(Schedule::Cosine.at(1.0, 0, 100), 1.0);
        assert!((Schedule::Cosine.at(1.0, 50, 100) - 0.5).abs() < 1e-6);
        assert!(Schedule::Cosine.at(1.0, 99, 100) < 1e-3);
        assert_eq!(Schedule::Constant.at(0.3, 99, 100), 0.3);
    }
}
