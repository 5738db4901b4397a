//! Everything that determines a run.

use super::{OptimizerKind, Schedule};
use crate::methods::{Kind, Method, MethodConfig};
use crate::nn::{ModelConfig, Precision};
use crate::{Error, Result};

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// So many times through the training rows.
    Epochs(u64),
    /// So many steps.
    Steps(u64),
}

/// Everything that determines a run: with the same settings, data and adapter it has the same bits.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// The data set, as the command line names it.
    pub data: String,
    /// How many of its rows are trained and tested on, the first ones; all where there is no number.
    pub first_rows: [Option<usize>; 2],
    /// The network.
    pub model: ModelConfig,
    /// What its activations are stored as.
    #[serde(default)]
    pub precision: Precision,
    /// How its topologies evolve.
    pub method: MethodConfig,
    /// How long.
    pub length: Length,
    /// Rows of a step.
    pub batch: usize,
    /// Steps after which an epoch ends, though it has not seen every row; each epoch sees them in an order of its own.
    pub epoch_steps: Option<u64>,
    /// Which optimizer.
    pub optimizer: OptimizerKind,
    /// The full learning rate.
    pub learning_rate: f64,
    /// How the rate changes.
    pub schedule: Schedule,
    /// SGD's momentum; AdamW's first beta.
    pub momentum: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

impl Settings {
    /// Ten epochs in batches of 128 rows, with AdamW at a rate of 0.001 on a one-cycle schedule, in f32, with static topologies.
    pub fn new(model: impl Into<ModelConfig>) -> Self {
        let model = model.into();
        let sparsity = model.sparsity().unwrap_or(0.0);
        Self {
            data: String::new(),
            first_rows: [None; 2],
            model,
            precision: Precision::F32,
            method: MethodConfig::new(Kind::Static, sparsity),
            length: Length::Epochs(10),
            batch: 128,
            epoch_steps: None,
            optimizer: OptimizerKind::AdamW,
            learning_rate: 0.001,
            schedule: Schedule::OneCycle,
            momentum: 0.9,
            weight_decay: 0.01,
        }
    }

    /// Refuses what makes no sense, each by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        if self.batch == 0 {
            return bad("batch", "0 rows make no step".to_owned());
        }
        if self.epoch_steps == Some(0) {
            return bad("epoch-steps", "an epoch of no steps trains nothing".to_owned());
        }
        if matches!(self.length, Length::Epochs(0) | Length::Steps(0)) {
            return bad("epochs", "a run of no steps trains nothing".to_owned());
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return bad("lr", format!("{} is not a positive number", self.learning_rate));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return bad("momentum", format!("{} is not in [0, 1)", self.momentum));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return bad("weight-decay", format!("{} is not a number from 0 up", self.weight_decay));
        }
        self.model.validate()?;
        self.precision.validate()?;
        self.method.validate()?;
        self.method.expect_model(&self.model)?;
        if self.precision.half().is_some() && self.method.kind.measures_gradients() {
            return bad("dtype", format!("{} measures gradients, which f16 scales", self.method.kind));
        }
        let decays = self.method.kind == Kind::TopKast && self.method.penalty > 0.0;
        if self.precision.half().is_some() && decays {
            let reason =
                "the decay of top-kast precedes the decision whether a step in f16 counts; leave it at 0";
            return bad("penalty", reason.to_owned());
        }
        Ok(())
    }

    /// The method of the run.
    pub fn build_method(&self) -> Box<dyn Method> {
        self.method.build(self.model.seed(), self.model.sparsity().unwrap_or(0.0), self.learning_rate)
    }

    /// Steps of an epoch over `rows` rows; the last may be a batch that is not full.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        let all = rows.div_ceil(self.batch) as u64;
        self.epoch_steps.map_or(all, |steps| steps.min(all))
    }

    /// Steps of the whole run over `rows` rows.
    pub fn total_steps(&self, rows: usize) -> u64 {
        match self.length {
            Length::Epochs(epochs) => epochs.saturating_mul(self.steps_per_epoch(rows)),
            Length::Steps(steps) => steps,
        }
    }
}
