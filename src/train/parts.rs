//! Exchangeable parts of a run: objective, optimizer, method and exchange.

use super::{CrossEntropy, Exchange, MeanSquaredError, NetworksCrossEntropy, Objective, Settings, StartFrom};
use crate::data::Task;
use crate::methods::{Method, Static};
use crate::nn::ModelConfig;
use crate::optim::{AdamW, Optimizer};

/// Exchangeable parts of a run. [`Settings::parts`] makes those that settings name, and a program may replace any of them by its own:
/// `Parts { method: Box::new(mine), ..settings.parts() }`.
#[derive(Debug)]
pub struct Parts {
    /// The loss.
    pub objective: Box<dyn Objective>,
    /// The rule that moves weights.
    pub optimizer: Box<dyn Optimizer>,
    /// The method by which topologies change.
    pub method: Box<dyn Method>,
    /// An exchange with other processes in the middle of steps.
    pub exchange: Option<Box<dyn Exchange>>,
    /// Files that a new run begins with, which [its settings name](Settings::start_from); a run that is resumed reads none.
    pub start: StartFrom,
}

impl Default for Parts {
    /// Cross-entropy, AdamW, static topologies and no exchange.
    fn default() -> Self {
        Self {
            objective: Box::new(CrossEntropy),
            optimizer: Box::new(AdamW::default()),
            method: Box::new(Static),
            exchange: None,
            start: StartFrom::default(),
        }
    }
}

impl Settings {
    /// The parts that the settings name.
    pub fn parts(&self) -> Parts {
        Parts {
            objective: match (&self.model, self.task()) {
                (ModelConfig::Mlps(config), _) => Box::new(NetworksCrossEntropy::new(config)),
                (_, Task::Classification) => Box::new(CrossEntropy),
                (_, Task::Regression) => Box::new(MeanSquaredError),
            },
            optimizer: match self.basis {
                Some(basis) => Box::new(basis),
                None => self.optimizer.build(self.momentum, self.weight_decay),
            },
            method: self.method.build(),
            ..Parts::default()
        }
    }
}
