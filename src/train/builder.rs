//! Builder of a run: a network composed of modules, an objective, an optimizer, a method and data.

use std::path::Path;

use super::{
    Checkpoint, Exchange, Length, Objective, Parts, Schedule, Settings, Tasks, Trainer, Validation, Weights,
};
use crate::data::{Dataset, Holdout, LoadOptions, Rows};
use crate::gpu::Gpu;
use crate::graph::Recompute;
use crate::methods::Method;
use crate::nn::{Composed, ModelConfig, Module, Precision, Row};
use crate::optim::Optimizer;
use crate::{Error, Result};

/// A run to be, of a network that a program composes. Parts that are not given are cross-entropy, AdamW and static topologies;
/// numbers that are not given are those of [`Settings::new`].
#[derive(Debug)]
pub struct TrainerBuilder<'a, M> {
    gpu: &'a Gpu,
    module: M,
    data: Option<Dataset>,
    parts: Parts,
    seed: u64,
    change: Changes,
}

/// Numbers that a program gives in the place of the settings' defaults.
#[derive(Debug, Default)]
struct Changes {
    length: Option<Length>,
    batch: Option<usize>,
    micro_batch: Option<usize>,
    recompute: Option<Recompute>,
    learning_rate: Option<f64>,
    schedule: Option<Schedule>,
    warmup: u64,
    tasks: Option<Tasks>,
    precision: Option<Precision>,
    validation: Option<Holdout>,
    patience: Option<u64>,
}

impl Trainer {
    /// Begins a run of a network that is composed of modules.
    pub fn builder<M: Module + 'static>(gpu: &Gpu, module: M) -> TrainerBuilder<'_, M> {
        TrainerBuilder {
            gpu,
            module,
            data: None,
            parts: Parts::default(),
            seed: 1,
            change: Changes::default(),
        }
    }
}

impl<M: Module + 'static> TrainerBuilder<'_, M> {
    /// Rows to train and to test on.
    #[must_use]
    pub fn data(self, data: Dataset) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The loss; softmax cross-entropy otherwise.
    #[must_use]
    pub fn objective(mut self, objective: impl Objective + 'static) -> Self {
        self.parts.objective = Box::new(objective);
        self
    }

    /// The optimizer; AdamW otherwise.
    #[must_use]
    pub fn optimizer(mut self, optimizer: impl Optimizer + 'static) -> Self {
        self.parts.optimizer = Box::new(optimizer);
        self
    }

    /// The method by which topologies change, with its options; static otherwise.
    #[must_use]
    pub fn method(mut self, method: impl Method + 'static) -> Self {
        self.parts.method = Box::new(method);
        self
    }

    /// An exchange with other processes in the middle of steps; none otherwise.
    #[must_use]
    pub fn exchange(mut self, exchange: impl Exchange + 'static) -> Self {
        self.parts.exchange = Some(Box::new(exchange));
        self
    }

    /// Rows of one forward and backward pass, where a step accumulates the gradients of several.
    #[must_use]
    pub fn micro_batch(mut self, rows: usize) -> Self {
        self.change.micro_batch = Some(rows);
        self
    }

    /// Keeps less of the forward pass in memory, and computes the rest once more in the backward pass, with the same bits.
    #[must_use]
    pub fn recompute(mut self, recompute: Recompute) -> Self {
        self.change.recompute = Some(recompute);
        self
    }

    /// Passes over the training rows.
    #[must_use]
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.change.length = Some(Length::Epochs(epochs));
        self
    }

    /// Training steps.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.change.length = Some(Length::Steps(steps));
        self
    }

    /// Rows of a step.
    #[must_use]
    pub fn batch(mut self, rows: usize) -> Self {
        self.change.batch = Some(rows);
        self
    }

    /// The full learning rate, and how it changes over the run.
    #[must_use]
    pub fn learning_rate(mut self, rate: f64, schedule: Schedule) -> Self {
        (self.change.learning_rate, self.change.schedule) = (Some(rate), Some(schedule));
        self
    }

    /// First steps, over which the learning rate rises linearly from `1 / steps` of the full one; the schedule, constant or cosine, is
    /// that of the steps after them.
    #[must_use]
    pub fn warmup(mut self, steps: u64) -> Self {
        self.change.warmup = steps;
        self
    }

    /// Tasks that are learned one after the other, in the place of all classes at once.
    #[must_use]
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.change.tasks = Some(tasks);
        self
    }

    /// Precision of activations and operands.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.change.precision = Some(precision);
        self
    }

    /// Rows to choose the best epoch by, apart from those to test on: a share of the training rows, or another source. The run's folder
    /// keeps the checkpoint of the epoch of the smallest validation loss beside the last one.
    #[must_use]
    pub fn validation(mut self, of: Holdout) -> Self {
        self.change.validation = Some(of);
        self
    }

    /// The end of the run after so many epochs in which the [validation](TrainerBuilder::validation) loss did not fall.
    #[must_use]
    pub fn patience(mut self, epochs: u64) -> Self {
        self.change.patience = Some(epochs);
        self
    }

    /// First weights, in the place of drawn ones: dense ones, of which sparse layers keep the largest blocks, or block-sparse ones.
    #[must_use]
    pub fn weights(mut self, weights: Weights) -> Self {
        self.parts.start.weights = Some(weights);
        self
    }

    /// Seed of everything that is drawn; 1 otherwise.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The settings of the run, its parts, and its data.
    fn settle(self) -> Result<(Settings, Parts, Dataset)> {
        let missing = || Error::Config { option: "data", reason: "the builder was given none".to_owned() };
        let mut data = self.data.ok_or_else(missing)?;
        let row = match &data.train {
            Rows::Text(text) => Row::Window(text.context()),
            rows => Row::Features(rows.width()),
        };
        let objective = self.parts.objective.name();
        let network = Composed::new(self.module, row, self.seed, objective)?;
        let together = network.rows();
        let mut settings = Settings::new(network);
        let Changes {
            length,
            batch,
            micro_batch,
            recompute,
            learning_rate,
            schedule,
            warmup,
            tasks,
            precision,
            validation,
            patience,
        } = self.change;
        if patience.is_some() && validation.is_none() {
            let reason = "needs rows to see an improvement on: a validation of the builder".to_owned();
            return Err(Error::Config { option: "patience", reason });
        }
        if let Some(of) = validation {
            let context = if let Row::Window(context) = row { context } else { 0 };
            let options = LoadOptions { seed: self.seed, context, ..LoadOptions::default() };
            data = data.hold_out(&of, &options)?;
            settings.validation = Some(Validation { of, patience });
        }
        settings.data.clone_from(&data.name);
        settings.length = length.unwrap_or(settings.length);
        settings.batch = match (together, batch) {
            (Some(together), Some(batch)) if batch != together => {
                let reason = format!("the network reads {together} rows together, and no other number");
                return Err(Error::Config { option: "batch", reason });
            }
            (Some(together), _) => together,
            (None, batch) => batch.unwrap_or(settings.batch).min(data.train.rows()),
        };
        settings.micro_batch = micro_batch;
        settings.recompute = recompute;
        settings.learning_rate = learning_rate.unwrap_or(settings.learning_rate);
        settings.schedule = schedule.unwrap_or(settings.schedule);
        settings.warmup = warmup;
        settings.tasks = tasks;
        settings.precision = precision.unwrap_or(settings.precision);
        Ok((settings, self.parts, data))
    }

    /// The run, at its beginning.
    ///
    /// # Errors
    /// [`Error::Config`] where a part or a number makes no sense, or the data or its targets are not what network and objective
    /// read; [`Error::Argument`] where the shapes of the modules don't meet; [`Error::OutOfMemory`].
    pub fn build(self) -> Result<Trainer> {
        let gpu = self.gpu;
        let (mut settings, parts, data) = self.settle()?;
        settings.start_from(&parts.start)?;
        Trainer::with_parts(gpu, settings, data, parts)
    }

    /// The run from where a checkpoint of the same network left it, to the same bits as if it had never stopped. Settings are the
    /// checkpoint's; parts are the builder's.
    ///
    /// # Errors
    /// As [`TrainerBuilder::build`], and [`Error::Checkpoint`] if the checkpoint is of another network, or the data was changed.
    pub fn resume(self, checkpoint: &Checkpoint, path: &Path) -> Result<Trainer> {
        let gpu = self.gpu;
        let (settings, parts, data) = self.settle()?;
        let mut checkpoint = checkpoint.clone();
        let bad = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
        match (&mut checkpoint.settings.model, &settings.model) {
            (ModelConfig::Composed(kept), ModelConfig::Composed(given)) => {
                kept.adopt(given).map_err(|error| bad(error.to_string()))?;
            }
            (kept, _) => return Err(bad(format!("is of {kept}, which is no composed network"))),
        }
        Trainer::resume_with_parts(gpu, &checkpoint, path, data, parts)
    }
}
