//! Codistillation: networks that learn from each other as they were at their last exchange.

use std::path::Path;

use super::{Checkpoint, Settings, Trainer};
use crate::gpu::{Class, Gpu, Plan, Recorder, Tensor};
use crate::graph::{Network, Param, Weight};
use crate::nn::{Codistillation, ModelConfig};
use crate::ops::{self, SideBySide};
use crate::sparse::{BlockMatrix, Topology};
use crate::{Error, Result};

/// The networks as they were at their last exchange: a copy of their weights, with activations of its own and the same patterns.
#[derive(Debug)]
pub(super) struct Teachers {
    options: Codistillation,
    of: SideBySide,
    network: Network,
    /// Copies the weights of now.
    exchange: Plan,
    /// Whether there was an exchange, so that steps have the second term of the loss.
    pub(super) taught: bool,
}

impl Teachers {
    /// Room for the teachers of a run; `None` for one in which networks do not learn from each other.
    pub(super) fn new(gpu: &Gpu, settings: &Settings, model: &Network) -> Result<Option<Self>> {
        let ModelConfig::Mlps(config) = &settings.model else { return Ok(None) };
        let Some(options) = config.together.codistillation().filter(|options| options.weight > 0.0) else {
            return Ok(None);
        };
        let [of] = config.side_by_side()[..] else {
            return Err(Error::argument("codistillation", "networks", "of one group", config.groups().len()));
        };
        let copy = |param: &Param| -> Result<[Weight; 2]> {
            let copy = match param.weight() {
                Weight::Dense(values) => {
                    Weight::Dense(gpu.alloc::<f32>(Class::Values, param.name(), values.shape())?)
                }
                Weight::Sparse(matrix) => {
                    let copy = BlockMatrix::alloc(gpu, Class::Values, param.name(), matrix.pattern())?;
                    Weight::Sparse(copy)
                }
            };
            // There is no backward pass, so the gradient that a network has of each weight needs no memory of its own.
            Ok([copy.clone(), copy])
        };
        let weights = model.store().iter().map(copy).collect::<Result<Vec<_>>>()?;
        let graph = settings.model.graph(settings.pass_rows(), settings.precision)?;
        let network = Network::with_params(gpu, graph, weights)?;
        let mut rec = Recorder::new(gpu);
        for (from, to) in model.store().iter().zip(network.store().iter()) {
            ops::blend(&mut rec, from.values(), to.values(), [1.0, 0.0])?;
        }
        let exchange = rec.finish()?;
        Ok(Some(Self { options: *options, of, network, exchange, taught: false }))
    }

    /// Records what the teachers say about the rows of `input`, and returns their probabilities.
    pub(super) fn record(&self, rec: &mut Recorder<'_>, input: &Tensor) -> Result<&Tensor> {
        ops::blend(rec, input, self.network.input(), [1.0, 0.0])?;
        self.network.forward(rec, None)?;
        ops::network_probabilities(rec, self.network.logits(), self.of)?;
        Ok(self.network.logits())
    }

    /// Parameters of the copy, with their names in a checkpoint.
    fn saved(&self) -> impl Iterator<Item = (String, &Param)> {
        self.network.store().iter().map(|param| (format!("teachers.{}", param.name()), param))
    }
}

impl Trainer {
    /// Exchanges networks before a step, from 0, where it is time to. The first exchange records the plans again, with the second term
    /// of the loss.
    pub(super) fn exchange_networks(&mut self, step: u64) -> Result<()> {
        let Some(teachers) = &mut self.teachers else { return Ok(()) };
        if !teachers.options.exchanges_before(step) {
            return Ok(());
        }
        self.gpu.run(&teachers.exchange)?;
        if std::mem::replace(&mut teachers.taught, true) {
            return Ok(());
        }
        self.plan()
    }

    /// Adds the teachers to a checkpoint, once there were any.
    pub(super) fn save_teachers(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        let Some(teachers) = self.teachers.as_ref().filter(|teachers| teachers.taught) else { return Ok(()) };
        for (name, param) in teachers.saved() {
            let mut values = self.gpu.read::<f32>(param.values())?.wait()?;
            if let Some(matrix) = param.weight().sparse() {
                values = matrix.pattern().topology(&self.gpu)?.in_row_order(&values);
            }
            checkpoint.put(&name, param.values().shape(), values);
        }
        Ok(())
    }

    /// Takes up the teachers of a checkpoint, where its last step had any.
    pub(super) fn recall_teachers(
        &mut self,
        checkpoint: &Checkpoint,
        path: &Path,
        topologies: &[Option<&Topology>],
    ) -> Result<()> {
        let Some(teachers) = &mut self.teachers else { return Ok(()) };
        let done = checkpoint.position.step;
        teachers.taught = done.checked_sub(1).is_some_and(|last| teachers.options.teaches(last));
        if !teachers.taught {
            return Ok(());
        }
        for ((name, param), topology) in teachers.saved().zip(topologies) {
            let values = checkpoint.in_slots(path, &name, param.values().shape(), *topology)?;
            self.gpu.write(param.values(), &values)?;
        }
        Ok(())
    }
}
