//! Settings of a run.

use super::{OptimizerKind, Schedule, Tasks, Validation};
use crate::data::{Dataset, Fingerprint, ImageOptions, LoadOptions, TableOptions, Task, epoch_order};
use crate::graph::Recompute;
use crate::methods::{self, Kind, Method, MethodConfig};
use crate::nn::{MlpsConfig, ModelConfig, Precision};
use crate::optim::RandomBasis;
use crate::{Error, Result};

/// Length of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// Passes over the training rows.
    Epochs(u64),
    /// Training steps.
    Steps(u64),
}

/// All settings of a run. Runs with equal settings, data and adapter have equal bits.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Data set, by its name on the command line.
    pub data: String,
    /// Numbers of training and test rows, the first of the data set; `None` for all.
    pub first_rows: [Option<usize>; 2],
    /// How a table is read, and whether a class or a number is learned.
    #[serde(default, skip_serializing_if = "TableOptions::is_default")]
    pub table: TableOptions,
    /// The network.
    pub model: ModelConfig,
    /// Precision of activations and operands.
    #[serde(default)]
    pub precision: Precision,
    /// Method by which topologies change.
    pub method: MethodConfig,
    /// Length of the run.
    pub length: Length,
    /// Rows of a step.
    pub batch: usize,
    /// Rows of one forward and backward pass, where a step accumulates the gradients of several; `None` for one pass a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// What the backward pass computes once more, in place of keeping it; nothing for `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recompute: Option<Recompute>,
    /// Most steps of an epoch, which may end before every row was seen; the order of the rows is drawn for each epoch.
    pub epoch_steps: Option<u64>,
    /// Treatment of images; `None` for none, and for other data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageOptions>,
    /// Validation, where rows are set aside for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Optimizer.
    pub optimizer: OptimizerKind,
    /// Random base whose coordinates are trained, in the place of all elements; by plain SGD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<RandomBasis>,
    /// The full learning rate.
    pub learning_rate: f64,
    /// Schedule of the learning rate.
    pub schedule: Schedule,
    /// First steps, over which the learning rate rises linearly to the full one; the schedule is that of the steps after them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warmup: u64,
    /// Momentum of SGD and LARS, or beta1 of AdamW and LAMB.
    pub momentum: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// Seed of the split and the order of rows; `None` for the network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_seed: Option<u64>,
    /// Tasks that are learned one after the other; `None` for all classes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Tasks>,
    /// Files that first weights and patterns come from.
    #[serde(default, skip_serializing_if = "Origin::is_drawn")]
    pub origin: Origin,
}

/// Fingerprints of the files that a run's first weights and patterns come from; those that come from no file are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// File of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Fingerprint>,
    /// File of the patterns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Fingerprint>,
}

impl Origin {
    fn is_drawn(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(steps: &u64) -> bool {
    *steps == 0
}

impl Settings {
    /// Ten epochs in batches of 128 rows, with AdamW at a rate of 0.001 on a one-cycle schedule, in f32, with static topologies.
    pub fn new(model: impl Into<ModelConfig>) -> Self {
        Self {
            data: String::new(),
            first_rows: [None; 2],
            table: TableOptions::default(),
            model: model.into(),
            precision: Precision::F32,
            method: MethodConfig::new(Kind::Static),
            length: Length::Epochs(10),
            batch: 128,
            micro_batch: None,
            recompute: None,
            epoch_steps: None,
            images: None,
            validation: None,
            optimizer: OptimizerKind::AdamW,
            basis: None,
            learning_rate: 0.001,
            schedule: Schedule::OneCycle,
            warmup: 0,
            momentum: 0.9,
            weight_decay: 0.01,
            rows_seed: None,
            tasks: None,
            origin: Origin::default(),
        }
    }

    /// Refuses numbers that make no sense, and a method that can't work on the network, by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        if self.batch == 0 {
            return bad("batch", "0 rows make no step".to_owned());
        }
        if self.micro_batch == Some(0) {
            return bad("micro-batch", "0 rows make no pass".to_owned());
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
        if self.warmup > 0 && self.schedule == Schedule::OneCycle {
            let reason =
                "the one-cycle schedule has a warm-up of its own; choose constant or cosine".to_owned();
            return bad("warmup", reason);
        }
        self.validation.as_ref().map_or(Ok(()), Validation::validate)?;
        self.model.validate()?;
        match (&self.model, self.task()) {
            (ModelConfig::Mlp(config), Task::Classification) if config.classes < 2 => {
                return bad("data", format!("{} features and {} classes", config.inputs, config.classes));
            }
            (ModelConfig::Mlp(config), Task::Regression) if config.classes != 1 => {
                return bad("task", format!("a regression has one output, not {}", config.classes));
            }
            (ModelConfig::Mlps(config), task) => self.expect_together(config, task)?,
            (ModelConfig::Lm(_), Task::Regression) => {
                return bad("task", "a language model predicts bytes, not numbers".to_owned());
            }
            _ => {}
        }
        self.precision.validate()?;
        self.expect_basis()?;
        self.tasks.map_or(Ok(()), |tasks| tasks.validate(self))?;
        self.expect_method(&*self.method.build())
    }

    /// Refuses a method that can't train the network. Methods see the whole network, not the parts that [local](crate::nn::Local)
    /// training cuts a perceptron into.
    pub(super) fn expect_method(&self, method: &dyn Method) -> Result<()> {
        methods::expect_method(method, &self.model.in_one_part().smallest_graph(self.precision)?)
    }

    /// Refuses a base beside what it has no use for.
    fn expect_basis(&self) -> Result<()> {
        let Some(basis) = self.basis else { return Ok(()) };
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        if basis.directions == 0 {
            return bad("basis", "0 directions lead nowhere".to_owned());
        }
        if self.optimizer != OptimizerKind::Sgd {
            let reason = format!("a base is trained by plain sgd, not {}", self.optimizer);
            return bad("optimizer", reason);
        }
        for (option, value) in [("momentum", self.momentum), ("weight-decay", self.weight_decay)] {
            if value != 0.0 {
                return bad(
                    option,
                    format!("{value} has no effect on a base, which is trained by plain sgd"),
                );
            }
        }
        if matches!(self.model, ModelConfig::Mlps(_)) {
            return bad("basis", "a base would join networks that are trained together".to_owned());
        }
        Ok(())
    }

    /// Refuses what networks that are trained together can't have.
    fn expect_together(&self, config: &MlpsConfig, task: Task) -> Result<()> {
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        if task == Task::Regression {
            return bad("task", "networks that are trained together learn classes, not numbers".to_owned());
        }
        if config.classes < 2 {
            return bad("data", format!("{} features and {} classes", config.inputs, config.classes));
        }
        if !self.method.build().is_static() {
            let kind = self.method.kind();
            let reason =
                format!("{kind} would join networks that are trained together; their patterns are static");
            return bad("method", reason);
        }
        if self.optimizer.is_layerwise() {
            let reason = format!(
                "{} scales an update by the norm of a matrix, which networks that are trained together share",
                self.optimizer
            );
            return bad("optimizer", reason);
        }
        let networks = config.networks.len();
        match config.together.codistillation() {
            Some(_) if self.precision.half().is_some() => {
                bad("dtype", "networks that learn from each other are computed in f32".to_owned())
            }
            Some(options) if options.disjoint && !self.pass_rows().is_multiple_of(networks) => {
                let rows = self.pass_rows();
                bad("batch", format!("{rows} rows can't be shared out among {networks} networks equally"))
            }
            _ => Ok(()),
        }
    }

    /// Seed of the split and the order of rows.
    pub fn rows_seed(&self) -> u64 {
        self.rows_seed.unwrap_or(self.model.seed())
    }

    /// Order of `rows` training rows in an epoch. Where each network has rows of its own, those with the number of the network modulo
    /// their count, the order takes a row of each network in turn.
    pub(super) fn epoch_order(&self, rows: usize, epoch: u64) -> Vec<u32> {
        let seed = self.rows_seed();
        let disjoint = match &self.model {
            ModelConfig::Mlps(config) => {
                let options = config.together.codistillation();
                options.filter(|options| options.disjoint).map(|_| config.networks.len())
            }
            _ => None,
        };
        let order = epoch_order(rows, seed, epoch);
        let Some(networks) = disjoint else { return order };
        let mut shares = vec![Vec::new(); networks];
        order.into_iter().for_each(|row| shares[row as usize % networks].push(row));
        (0..rows).map(|place| shares[place % networks][place / networks]).collect()
    }

    /// How the data of the run is read.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            seed: self.rows_seed(),
            context: self.model.context(),
            table: self.table.clone(),
            images: self.images.unwrap_or_default(),
            first_rows: self.first_rows,
            validation: self.validation.as_ref().map(|validation| validation.of.clone()),
        }
    }

    /// Reads the data of the run.
    ///
    /// # Errors
    /// As [`Dataset::load_with`]; [`Error::Config`] for data that is no source, as a program's own rows are.
    pub fn load_data(&self) -> Result<Dataset> {
        Dataset::load_with(&self.data.parse()?, &self.load_options())
    }

    /// Whether a class or a number is learned.
    pub fn task(&self) -> Task {
        self.table.task.unwrap_or_default()
    }

    /// Rows of one forward and backward pass: a step, or a part of one.
    pub fn pass_rows(&self) -> usize {
        self.micro_batch.unwrap_or(self.batch).min(self.batch)
    }

    /// Steps of an epoch over `rows` rows; the last batch may not be full. A batch of 0 rows, which [`Settings::validate`] refuses,
    /// counts as 1.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        let all = rows.div_ceil(self.batch.max(1)) as u64;
        self.epoch_steps.map_or(all, |steps| steps.min(all))
    }

    /// The learning rate of step `step` of `steps`: from `1 / warmup` of the full one up to it, and then by the schedule, which begins
    /// anew with each [task](Tasks).
    pub fn learning_rate_at(&self, step: u64, steps: u64) -> f32 {
        let steps = self.scheduled(steps);
        let step = if self.tasks.is_some() { step % steps.max(1) } else { step };
        let Self { learning_rate, warmup, .. } = *self;
        if step < warmup {
            return (learning_rate * (step + 1) as f64 / warmup as f64) as f32;
        }
        self.schedule.at(learning_rate, step - warmup, steps.saturating_sub(warmup))
    }

    /// Steps over which the schedule of the learning rate goes, in a run of `steps`.
    fn scheduled(&self, steps: u64) -> u64 {
        steps / self.tasks.map_or(1, |tasks| tasks.count.max(1) as u64)
    }

    /// Refuses a warm-up that is longer than a run over `rows` rows.
    pub(super) fn expect_warmup(&self, rows: usize) -> Result<()> {
        let steps = self.scheduled(self.total_steps(rows));
        if self.warmup > steps {
            let of = if self.tasks.is_some() { "a task" } else { "the run" };
            let reason = format!("{} steps are more than the {steps} of {of}", self.warmup);
            return Err(Error::Config { option: "warmup", reason });
        }
        Ok(())
    }

    /// Steps of the whole run over `rows` rows.
    pub fn total_steps(&self, rows: usize) -> u64 {
        match self.length {
            Length::Epochs(epochs) => epochs.saturating_mul(self.steps_per_epoch(rows)),
            Length::Steps(steps) => steps,
        }
    }
}
