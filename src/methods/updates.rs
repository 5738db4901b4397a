//! Schedule of topology updates.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Position in a run, and numbers of the run that schedules are computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// The step, from 0.
    pub step: u64,
    /// Steps of an epoch.
    pub per_epoch: u64,
    /// Steps of the run.
    pub steps: u64,
    /// Full learning rate of the run.
    pub learning_rate: f64,
}

/// Interval of updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Every {
    /// Number of steps.
    Steps(u64),
    /// One epoch: updates are at the last step of every epoch but the last.
    Epoch,
}

/// Decay of the exchanged share over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// No decay.
    Constant,
    /// In a straight line to 0.
    Linear,
    /// Along half a cosine to 0, as in RigL.
    Cosine,
    /// Exponentially, to a hundredth.
    Exponential,
}

/// Schedule of updates, and the share of a layer's blocks that each exchanges.
///
/// Updates at an interval of steps replace the optimizer's step, as in RigL: the gradients of that step score growth, and change
/// no weight. Updates at the end of an epoch follow the step, as in SET, and read its batch.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Updates {
    /// Interval.
    pub every: Every,
    /// Share of the run before the first update.
    pub from: f64,
    /// Share of the run after which there are no updates.
    pub until: f64,
    /// Share of the blocks that the first update exchanges.
    pub fraction: f64,
    /// Decay of that share.
    pub decay: Decay,
}

impl Updates {
    /// RigL's schedule: every 100 steps over three quarters of the run, a share of 0.3 that falls along a cosine.
    pub const RIGL: Self =
        Self { every: Every::Steps(100), from: 0.0, until: 0.75, fraction: 0.3, decay: Decay::Cosine };

    /// SET's schedule: once an epoch to the end, a share of 0.3 throughout.
    pub const SET: Self =
        Self { every: Every::Epoch, from: 0.0, until: 1.0, fraction: 0.3, decay: Decay::Constant };

    /// CTRE's schedule: SET's with a share of 0.2.
    pub const CTRE: Self = Self { fraction: 0.2, ..Self::SET };

    /// Whether an update replaces a training step, rather than following it.
    pub fn replace_steps(&self) -> bool {
        matches!(self.every, Every::Steps(_))
    }

    /// Share of the blocks to exchange at this step, if an update is due.
    pub fn at(&self, clock: Clock) -> Option<f64> {
        self.due(clock).then(|| self.share(clock))
    }

    /// Number of updates before this step, and in the run.
    pub fn counts(&self, clock: Clock) -> [u64; 2] {
        let due = |until| (0..until).filter(|&step| self.due(Clock { step, ..clock })).count() as u64;
        [due(clock.step), due(clock.steps)]
    }

    fn due(&self, Clock { step, per_epoch, steps, .. }: Clock) -> bool {
        let share = step as f64 / steps.max(1) as f64;
        let turn = match self.every {
            Every::Steps(every) => step > 0 && step.is_multiple_of(every),
            Every::Epoch => (step + 1).is_multiple_of(per_epoch) && step + 1 < steps,
        };
        turn && self.from <= share && share < self.until
    }

    fn share(&self, clock: Clock) -> f64 {
        let end = self.until * clock.steps as f64;
        let done = (clock.step as f64 / end.max(1.0)).min(1.0);
        self.fraction
            * match self.decay {
                Decay::Constant => 1.0,
                Decay::Linear => 1.0 - done,
                Decay::Cosine => 0.5 * (1.0 + (PI * done).cos()),
                Decay::Exponential => 0.01f64.powf(done),
            }
    }

    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        if self.every == Every::Steps(0) {
            return bad("update-every", "0 steps".to_owned());
        }
        if !(0.0..=1.0).contains(&self.fraction) {
            return bad("update-fraction", format!("{} is not in [0, 1]", self.fraction));
        }
        if !(0.0 <= self.from && self.from <= self.until && self.until <= 1.0) {
            let reason = format!("from {} to {} is no part of the run from 0 to 1", self.from, self.until);
            return bad("update-until", reason);
        }
        Ok(())
    }
}

impl FromStr for Every {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "epoch" {
            return Ok(Self::Epoch);
        }
        text.parse().map(Self::Steps).map_err(|_| Error::Config {
            option: "update-every",
            reason: format!("{text:?} is neither a number of steps nor epoch"),
        })
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Epoch => f.write_str("epoch"),
        }
    }
}

impl FromStr for Decay {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "constant" => Ok(Self::Constant),
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine),
            "exponential" => Ok(Self::Exponential),
            other => Err(Error::Config {
                option: "update-decay",
                reason: format!("{other:?} is none of constant, linear, cosine, exponential"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> Clock {
        Clock { step, per_epoch: 90, steps: 1000, learning_rate: 0.1 }
    }

    /// `int(nnz * alpha / 2 * (1 + cos(pi t / t_end)))` of RigL's code.
    #[test]
    fn rigls_share_is_the_published_one() {
        let updates = Updates::RIGL;
        assert_eq!(updates.share(at(0)), 0.3);
        let wanted = 0.15 * (1.0 + (PI * 300.0 / 750.0).cos());
        assert!((updates.share(at(300)) - wanted).abs() < 1e-12);
        assert!(updates.share(at(750)) < 1e-12);
    }

    #[test]
    fn updates_fall_where_they_are_due() {
        let due =
            |updates: Updates| (0..1000).filter(|&step| updates.at(at(step)).is_some()).collect::<Vec<_>>();
        assert_eq!(due(Updates::RIGL), [100, 200, 300, 400, 500, 600, 700]);
        assert_eq!(Updates::RIGL.counts(at(300)), [2, 7]);
        assert_eq!(due(Updates { from: 0.3, until: 0.5, ..Updates::RIGL }), [300, 400]);
        assert_eq!(due(Updates::SET)[..2], [89, 179]);
        // Not after the last epoch.
        let short = |step| Clock { steps: 180, ..at(step) };
        assert_eq!((0..180).filter(|&step| Updates::SET.at(short(step)).is_some()).count(), 1);
    }

    #[test]
    fn every_decay_falls() {
        for decay in [Decay::Linear, Decay::Cosine, Decay::Exponential] {
            let updates = Updates { decay, ..Updates::RIGL };
            assert_eq!(updates.share(at(0)), 0.3);
            assert!((1..750).all(|step| updates.share(at(step)) < updates.share(at(step - 1))));
        }
    }
}
