//! Checkpoints of a run, and runs that are resumed from them.

use std::path::Path;

use super::checkpoint::by_param;
use super::local::totals_name;
use super::restore::Restore;
use super::{Checkpoint, Footprint, Parts, Trainer, fit};
use crate::data::{Dataset, Fingerprint};
use crate::gpu::{DType, Gpu};
use crate::methods::Static;
use crate::sparse::Topology;
use crate::{Error, Result};

impl Trainer {
    /// A run from where a checkpoint left it. It goes on to the same bits as if it had never stopped.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the checkpoint is not one of these settings, or the data has another fingerprint.
    pub fn resume(gpu: &Gpu, checkpoint: &Checkpoint, path: &Path, data: Dataset) -> Result<Self> {
        let parts = checkpoint.settings.parts();
        Self::resume_with_parts(gpu, checkpoint, path, data, parts)
    }

    /// Resumes a run with parts of the caller's own, which must be those that it was [begun with](Trainer::with_parts): a checkpoint
    /// holds their state, and not the parts.
    ///
    /// # Errors
    /// As [`Trainer::resume`], and where the method [refuses](crate::methods::Method::accepts) the network or the state.
    pub fn resume_with_parts(
        gpu: &Gpu,
        checkpoint: &Checkpoint,
        path: &Path,
        data: Dataset,
        parts: Parts,
    ) -> Result<Self> {
        let settings = checkpoint.settings.clone();
        settings.validate()?;
        let bad = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
        fit::expect_data(&settings.model, &data).map_err(|error| bad(error.to_string()))?;
        fit::expect_validation(&settings, &data)?;
        settings.expect_warmup(data.train.rows())?;
        let found = Fingerprint::of(&data);
        if let Some(wanted) = checkpoint.fingerprint.filter(|&wanted| wanted != found) {
            return Err(bad(format!(
                "the run is of data with the fingerprint {wanted}, but {} has {found}: it was changed; bring it back as it \
                 was, or begin a new run",
                data.name
            )));
        }
        settings.expect_method(&*parts.method)?;
        Footprint::expect_run(gpu, &settings, &*parts.method, &*parts.optimizer)?;
        let topologies = checkpoint.topologies(path)?;
        let fixed = parts.method.keeps_sizes();
        let model = checkpoint.network_to_train(gpu, path, &topologies, settings.pass_rows(), fixed)?;
        let mut trainer = Self::assemble(gpu, settings, data, model, checkpoint.position, parts)?;
        trainer.recall(checkpoint, path, &topologies)?;
        trainer.plan()?;
        Ok(trainer)
    }

    /// The run as it stands. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let memory = self.evolution.method.memory();
        let mut checkpoint = Checkpoint::new(self.settings.clone(), self.position, memory);
        checkpoint.fingerprint = Some(self.fingerprint);
        checkpoint.encoding.clone_from(&self.data.encoding);
        for (parameter, workspace) in self.model.store().iter().zip(&self.evolution.workspaces) {
            let weight = parameter.weight().sparse();
            let topology = weight.map(|matrix| matrix.pattern().topology(&self.gpu)).transpose()?;
            let values = self.gpu.read::<f32>(parameter.values())?.wait()?;
            match &topology {
                Some(topology) => checkpoint.put_sparse(parameter.name(), topology, &values),
                None => checkpoint.put(parameter.name(), parameter.values().shape(), values),
            }
            if let (Some(topology), Some(workspace)) = (&topology, workspace) {
                let born = self.gpu.read::<u32>(workspace.born())?.wait()?;
                checkpoint.put_words(&format!("{}.born", parameter.name()), &topology.in_row_order(&born));
            }
            for (part, tensor) in self.optimizer.state_names().iter().zip(parameter.state()) {
                let mut values = self.gpu.read::<f32>(tensor)?.wait()?;
                if let Some(topology) = &topology {
                    values = topology.in_row_order(&values);
                }
                checkpoint.put(&format!("optimizer.{}.{part}", parameter.name()), tensor.shape(), values);
            }
        }
        for (name, tensor) in self.model.state() {
            match tensor.dtype() {
                DType::U32 => checkpoint.put_words(&name, &self.gpu.read::<u32>(tensor)?.wait()?),
                _ => checkpoint.put(&name, tensor.shape(), self.gpu.read::<f32>(tensor)?.wait()?),
            }
        }
        if let Some(scale) = self.batch.buffers.step.scale() {
            checkpoint.put_words("loss_scale", &self.gpu.read::<u32>(scale.tensor())?.wait()?);
        }
        checkpoint.put_words("method.grown", &[self.evolution.grown.into()]);
        for (name, saved) in self.evolution.tensors(&self.model) {
            let tensor = saved.tensor();
            match tensor.dtype() {
                DType::U32 => checkpoint.put_words(&name, &self.gpu.read::<u32>(tensor)?.wait()?),
                _ => checkpoint.put(&name, tensor.shape(), self.gpu.read::<f32>(tensor)?.wait()?),
            }
        }
        self.save_teachers(&mut checkpoint)?;
        self.save_head_totals(&mut checkpoint)?;
        Ok(checkpoint)
    }

    /// Takes up what optimizer and method remember.
    fn recall(
        &mut self,
        checkpoint: &Checkpoint,
        path: &Path,
        topologies: &[Option<Topology>],
    ) -> Result<()> {
        let topologies = by_param(&self.model, topologies);
        for (parameter, topology) in self.model.store().iter().zip(&topologies) {
            for (part, tensor) in self.optimizer.state_names().iter().zip(parameter.state()) {
                let name = format!("optimizer.{}.{part}", parameter.name());
                self.gpu.write(tensor, &checkpoint.in_slots(path, &name, tensor.shape(), *topology)?)?;
            }
        }
        let gpu = self.gpu.clone();
        let restore = Restore { gpu: &gpu, checkpoint, path };
        let mut method = std::mem::replace(&mut self.evolution.method, Box::new(Static));
        let result = method.recall(&checkpoint.memory, self);
        self.evolution.method = method;
        result?;
        if let Some(scale) = self.batch.buffers.step.scale() {
            restore.loss_scale(scale)?;
        }
        self.recall_teachers(checkpoint, path, &topologies)?;
        for (part, totals) in self.batch.buffers.heads.iter().enumerate() {
            restore.numbers(&totals_name(part), totals)?;
        }
        self.evolution.grown = restore.flag("method.grown")?;
        let layers = self.model.store().iter().zip(topologies);
        for ((layer, topology), workspace) in layers.zip(&self.evolution.workspaces) {
            if let (Some(topology), Some(workspace)) = (topology, workspace) {
                restore.births(&format!("{}.weight.born", layer.layer()), topology, workspace.born())?;
            }
        }
        let saved = self.evolution.tensors(&self.model);
        saved.iter().try_for_each(|(name, saved)| restore.saved(name, saved))
    }
}
