//! When topologies change, and by how much: one schedule for all methods.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The step, from 0.
    pub step: u64,
    /// Steps of an epoch.
    pub per_epoch: u64,
    /// Steps of the run.
    pub steps: u64,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Every {
    /// After so many steps.
    Steps(u64),
    /// At the last step of every epoch but the last.
    Epoch,
}

/// How the share that changes falls over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// It does not.
    Constant,
    /// In a straight line to 0.
    Linear,
    /// Along half a cosine to 0, as RigL has it.
    Cosine,
    /// By the same factor over equal times, to a hundredth.
    Exponential,
}

/// When updates take place, and the share of a layer's blocks that each exchanges.
///
/// An update after so many steps takes the place of the optimizer's step, as in RigL: the gradients of that step decide what
/// grows, and change no weight. One at the end of an epoch, as in SET, follows the step, on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Updates {
    /// How often.
    pub every: Every,
    /// The share of the run before the first.
    pub from: f64,
    /// The share of the run after which there is none.
    pub until: f64,
    /// The share of blocks that the first exchanges.
    pub fraction: f64,
    /// How that share falls.
    pub decay: Decay,
}

impl Updates {
    /// RigL's: every 100 steps over three quarters of the run, from 0.3 down along a cosine.
    pub const RIGL: Self =
        Self { every: Every::Steps(100), from: 0.0, until: 0.75, fraction: 0.3, decay: Decay::Cosine };

    /// SET's: once an epoch to the end, 0.3 throughout.
    pub const SET: Self =
        Self { every: Every::Epoch, from: 0.0, until: 1.0, fraction: 0.3, decay: Decay::Constant };

    /// Whether an update takes the place of a step rather than following it.
    pub fn replace_steps(&self) -> bool {
        matches!(self.every, Every::Steps(_))
    }

    /// The share of blocks that is exchanged now, if an update is due.
    pub fn at(&self, clock: Clock) -> Option<f64> {
        self.due(clock).then(|| self.share(clock))
    }

    /// Which update is due now, from 0, and how many the run has.
    pub fn turn(&self, clock: Clock) -> [u64; 2] {
        let due = |until| (0..until).filter(|&step| self.due(Clock { step, ..clock })).count() as u64;
        [due(clock.step), due(clock.steps)]
    }

    fn due(&self, Clock { step, per_epoch, steps }: Clock) -> bool {
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

    /// Refuses what makes no sense, each by name.
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
        Clock { step, per_epoch: 90, steps: 1000 }
    }

    /// `int(nnz * alpha / 2 * (1 + cos(pi t / t_end)))`, as RigL's code has it.
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
        assert_eq!(Updates::RIGL.turn(at(300)), [2, 7]);
        assert_eq!(due(Updates { from: 0.3, until: 0.5, ..Updates::RIGL }), [300, 400]);
        assert_eq!(due(Updates::SET)[..2], [89, 179]);
        // Not after the last epoch.
        let short = |step| Clock { step, per_epoch: 90, steps: 180 };
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
