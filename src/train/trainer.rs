//! State of a run: network, optimizer, method, data, and the plans that train and test.

use super::batch::Batch;
use super::evolution::Evolution;
use super::health::Signs;
use super::plans::Plans;
use super::program::{Exchange, Program};
use super::rehearsal::Rehearsal;
use super::teachers::Teachers;
use super::{Footprint, KernelRecord, NetworkScores, Objective, Parts, Position, Settings, fit};
use crate::data::{Dataset, Fingerprint, Targets};
use crate::gpu::{Gpu, Plan};
use crate::graph::{Network, Start};
use crate::methods::{Clock, Phase};
use crate::nn::ModelConfig;
use crate::optim::Optimizer;
use crate::tune::Tuner;
use crate::{Error, Result};

/// A run: network, optimizer, data, and the plans that train and test.
#[derive(Debug)]
pub struct Trainer {
    pub(super) gpu: Gpu,
    pub(super) settings: Settings,
    pub(super) data: Dataset,
    pub(super) fingerprint: Fingerprint,
    pub(super) model: Network,
    pub(super) objective: Box<dyn Objective>,
    pub(super) optimizer: Box<dyn Optimizer>,
    pub(super) exchange: Option<Box<dyn Exchange>>,
    pub(super) batch: Batch,
    pub(super) plans: Plans,
    pub(super) evolution: Evolution,
    pub(super) position: Position,
    /// Findings of the last test besides its loss and accuracy.
    pub(super) signs: Signs,
    /// Scores of each network in the last test and validation, where several are trained together.
    pub(super) networks: NetworkScores,
    /// Networks as they were at their last exchange, where they learn from each other.
    pub(super) teachers: Option<Teachers>,
    /// Rows of each task, where a run learns several one after the other.
    pub(super) rehearsal: Option<Rehearsal>,
    /// Kernel of each product of a step, where the tuner measured it.
    pub(super) tuned: Vec<KernelRecord>,
    pub(super) tuner: Option<Tuner>,
}

impl Trainer {
    /// A run from its beginning.
    ///
    /// # Errors
    /// [`Error::Config`] where settings make no sense, [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, settings: Settings, data: Dataset) -> Result<Self> {
        let parts = settings.parts();
        Self::with_parts(gpu, settings, data, parts)
    }

    /// A run from its beginning, with parts of the caller's own in place of those that the settings name.
    ///
    /// # Errors
    /// As [`Trainer::new`], and where the method [refuses](crate::methods::Method::accepts) the network; [`Error::Data`] for files to
    /// start from that are of another network.
    pub fn with_parts(gpu: &Gpu, settings: Settings, data: Dataset, parts: Parts) -> Result<Self> {
        settings.validate()?;
        parts.start.expect_settings(&settings)?;
        fit::expect_data(&settings.model, &data)?;
        fit::expect_validation(&settings, &data)?;
        settings.expect_warmup(data.train.rows())?;
        let method = &*parts.method;
        settings.expect_method(method)?;
        Footprint::expect_run(gpu, &settings, method, &*parts.optimizer)?;
        let stored = settings.model.sparsity().map(|sparsity| method.stored_sparsity(sparsity));
        let first = parts.start.first(&settings, stored)?;
        let start =
            Start { fan_in: method.fan_in(), topologies: &first.topologies, fixed: method.keeps_sizes() };
        let Settings { precision, recompute, .. } = settings;
        let model = settings.model.build(gpu, settings.pass_rows(), start, precision, recompute)?;
        if matches!(settings.model, ModelConfig::Composed(_)) {
            // Nodes may be a program's own.
            model.expect_gradients(gpu)?;
        }
        first.write(gpu, &model)?;
        let position = Position { step: 0, replaced: 0, loss_sum: 0.0, hits: 0.0, best: None };
        let mut trainer = Self::assemble(gpu, settings, data, model, position, parts)?;
        let epochs = trainer.clock().steps.div_ceil(trainer.clock().per_epoch);
        trainer.mutate(Phase::Start { epochs })?;
        Ok(trainer)
    }

    /// A run at this position, with an optimizer that remembers nothing and no plans yet.
    pub(super) fn assemble(
        gpu: &Gpu,
        settings: Settings,
        data: Dataset,
        mut model: Network,
        position: Position,
        parts: Parts,
    ) -> Result<Self> {
        let Parts { objective, optimizer, method, exchange, start: _ } = parts;
        let shapes = model.graph().output_shapes().into_iter().map(|(_, shape)| shape.to_vec());
        let [wanted, found] = [objective.targets(&shapes.collect::<Vec<_>>())?, data.targets()];
        if wanted != found
            && !matches!((wanted, found), (Targets::Classes(most), Targets::Classes(some)) if some <= most)
        {
            let reason = format!(
                "has {found:?} for targets, and {} of this network wants {wanted:?}",
                objective.name()
            );
            return Err(Error::Config { option: "data", reason });
        }
        if settings.pass_rows() < settings.batch && method.measures_gradients() {
            let reason =
                format!("{} measures the gradients of whole steps, which are accumulated", method.name());
            return Err(Error::Config { option: "micro-batch", reason });
        }
        if optimizer.moves_all_elements() {
            if !method.is_static() {
                let reason =
                    format!("{} changes the elements that the directions of a base cover", method.name());
                return Err(Error::Config { option: "method", reason });
            }
            if let Some(param) = model.store().iter().find(|param| param.counted().is_some()) {
                let reason = format!("{} has padding, which a base would move", param.name());
                return Err(Error::Config { option: "basis", reason });
            }
        }
        model.allocate_state(gpu, optimizer.state_names())?;
        let batch = Batch::new(gpu, &model, &*objective, &settings)?;
        gpu.write(&batch.buffers.totals, &[position.loss_sum, position.hits])?;
        let evolution = Evolution::new(gpu, method, &model)?;
        let plans = Plans::empty(gpu)?;
        let teachers = Teachers::new(gpu, &settings, &model)?;
        let rehearsal = Rehearsal::new(&settings, &data)?;
        Ok(Self {
            gpu: gpu.clone(),
            settings,
            fingerprint: Fingerprint::of(&data),
            data,
            model,
            objective,
            optimizer,
            exchange,
            batch,
            plans,
            evolution,
            position,
            signs: Signs::default(),
            networks: NetworkScores::default(),
            teachers,
            rehearsal,
            tuned: Vec::new(),
            tuner: None,
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The network.
    pub fn model(&self) -> &Network {
        &self.model
    }

    /// The run's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A training step, with the batch that was loaded last: what is replayed for each.
    pub fn step_plan(&self) -> &Plan {
        self.plans.train.first()
    }

    /// A step that changes topologies, if the method has any, with the batch that was loaded last.
    pub fn update_plan(&self) -> Option<&Plan> {
        self.plans.update.as_ref().map(Program::first)
    }

    /// A training step in which the method looks on, if it does.
    pub fn observe_plan(&self) -> Option<&Plan> {
        self.plans.observe.as_ref().map(Program::first)
    }

    /// The kernels of a step, in order.
    pub fn step_kernels(&self) -> impl Iterator<Item = &str> {
        self.plans.train.plans().flat_map(Plan::labels)
    }

    /// Where the run is.
    pub(super) fn clock(&self) -> Clock {
        let rows = self.data.train.rows();
        Clock {
            step: self.position.step,
            per_epoch: self.settings.steps_per_epoch(rows),
            steps: self.settings.total_steps(rows),
            learning_rate: self.settings.learning_rate,
        }
    }

    /// Names the first layer, from the input on, in which something is not finite.
    pub(super) fn check(&self, status: &[u32], step: u64) -> Result<()> {
        let layer = |index: usize| self.model.stages()[index].clone();
        if let Some(index) = status.iter().position(|word| word & 1 != 0) {
            return Err(Error::NotFinite { step, layer: layer(index), quantity: "the output" });
        }
        if let Some(index) = status.iter().rposition(|word| word & 2 != 0) {
            return Err(Error::NotFinite { step, layer: layer(index), quantity: "the gradient" });
        }
        Ok(())
    }
}
