//! Optimizers as the command line names them.

use std::fmt;
use std::str::FromStr;

use super::{AdamW, Lamb, Lars, Optimizer, Sgd};
use crate::{Error, Result};

/// An optimizer by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with Nesterov momentum.
    Sgd,
    /// Adam with decoupled weight decay.
    AdamW,
    /// SGD with momentum and a trust ratio per parameter.
    Lars,
    /// Adam with weight decay and a trust ratio per parameter.
    Lamb,
}

impl OptimizerKind {
    /// Whether an update depends on norms of whole parameters.
    pub fn is_layerwise(self) -> bool {
        matches!(self, Self::Lars | Self::Lamb)
    }

    /// The optimizer with this momentum (the first decay of AdamW and LAMB) and weight decay.
    pub fn build(self, momentum: f32, weight_decay: f32) -> Box<dyn Optimizer> {
        match self {
            Self::Sgd => Box::new(Sgd { momentum, nesterov: momentum > 0.0, weight_decay }),
            Self::AdamW => Box::new(AdamW { beta_1: momentum, weight_decay, ..AdamW::default() }),
            Self::Lars => Box::new(Lars { momentum, weight_decay, ..Lars::default() }),
            Self::Lamb => Box::new(Lamb { beta_1: momentum, weight_decay, ..Lamb::default() }),
        }
    }
}

impl FromStr for OptimizerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sgd" => Ok(Self::Sgd),
            "adamw" => Ok(Self::AdamW),
            "lars" => Ok(Self::Lars),
            "lamb" => Ok(Self::Lamb),
            other => Err(Error::Config {
                option: "optimizer",
                reason: format!("{other:?} is none of sgd, adamw, lars, lamb"),
            }),
        }
    }
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sgd => "sgd",
            Self::AdamW => "adamw",
            Self::Lars => "lars",
            Self::Lamb => "lamb",
        })
    }
}
