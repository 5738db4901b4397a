//! Purposes for which networks are trained together.

use super::MlpsConfig;
use crate::{Error, Result};

/// Purpose for which networks are trained together.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Together {
    /// To be compared: `fretwork sweep`. Nothing is predicted by all of them.
    Sweep,
    /// To predict together, by the mean of their probabilities (Lakshminarayanan et al. 2017): `train --ensemble`.
    Ensemble,
    /// To learn from each other: `train --codistill`. One of them predicts.
    Codistillation(Codistillation),
}

/// Codistillation (Zhang et al. 2017, Anil et al. 2018): the loss of a network gets a second term, `weight` times the cross-entropy to
/// the mean of the other networks' probabilities for the same row. Those are of the networks as they were when they were last exchanged.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Codistillation {
    /// Factor of the second term; 0 for networks that train independently.
    pub weight: f32,
    /// Steps before the first exchange, without the second term.
    pub burn_in: u64,
    /// Steps from one exchange to the next.
    pub exchange_every: u64,
    /// Whether each network has a part of the training rows of its own.
    pub disjoint: bool,
}

impl Codistillation {
    /// Whether networks are exchanged before this step, from 0.
    pub(crate) fn exchanges_before(&self, step: u64) -> bool {
        self.weight > 0.0
            && step.checked_sub(self.burn_in).is_some_and(|since| since.is_multiple_of(self.exchange_every))
    }

    /// Whether this step, from 0, has the second term.
    pub(crate) fn teaches(&self, step: u64) -> bool {
        self.weight > 0.0 && step >= self.burn_in
    }
}

impl Together {
    /// The codistillation, if it is one.
    pub fn codistillation(&self) -> Option<&Codistillation> {
        match self {
            Self::Codistillation(options) => Some(options),
            Self::Sweep | Self::Ensemble => None,
        }
    }

    /// Refuses numbers that make no sense.
    pub(super) fn validate(&self, of: &MlpsConfig) -> Result<()> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        let Self::Codistillation(options) = self else { return Ok(()) };
        let networks = of.networks.len();
        if networks < 2 {
            return bad("codistill", format!("{networks} network has no other to learn from"));
        }
        if of.groups().len() > 1 {
            return bad("codistill", "the networks have different activations or depths".to_owned());
        }
        if !(options.weight.is_finite() && options.weight >= 0.0) {
            return bad("weight", format!("{} is not a number from 0 up", options.weight));
        }
        if options.exchange_every == 0 {
            return bad("exchange-every", "0 steps from one exchange to the next are no interval".to_owned());
        }
        Ok(())
    }
}
