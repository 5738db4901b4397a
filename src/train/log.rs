//! Records of a network's layers and loads for the log.

use super::{LayerRecord, LoadRecord, Scaling, Trainer, to_hex};
use crate::gpu::Tensor;
use crate::nn::{Load, ModelConfig};
use crate::ops::LossScaleState;
use crate::reference::{self, bits};
use crate::{Error, Result};

impl Trainer {
    /// Tokens taken and dropped by mixtures of experts since the last call. Waits for the device.
    pub(super) fn take_loads(&self) -> Result<Vec<LoadRecord>> {
        let take = |tensor: &Tensor| -> Result<Vec<u32>> {
            let words = self.gpu.read::<u32>(tensor)?.wait()?;
            self.gpu.write(tensor, &vec![0u32; words.len()])?;
            Ok(words)
        };
        let record = |load: Load<'_>| {
            Ok(LoadRecord { name: load.name, taken: take(load.taken)?, dropped: take(load.dropped)? })
        };
        self.model.loads().into_iter().map(record).collect()
    }

    /// How gradients are scaled, where they are. Waits for the device.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where no scale is small enough for them, [`Error::DeviceLost`].
    pub(super) fn scaling(&self) -> Result<Option<Scaling>> {
        let Some(scale) = self.batch.buffers.step.scale() else { return Ok(None) };
        let state = scale.read(&self.gpu)?;
        if state.scale <= LossScaleState::LEAST {
            let step = self.position.step.saturating_sub(1);
            return Err(Error::NotFinite { step, layer: "every layer".to_owned(), quantity: "the gradient" });
        }
        Ok(Some(Scaling { loss_scale: state.scale, skipped: state.skipped }))
    }

    /// The patterns as they are, for the log. Waits for the device.
    pub(super) fn layer_records(&self) -> Result<Vec<LayerRecord>> {
        let mut records = Vec::new();
        if matches!(self.settings.model, ModelConfig::Mlps(_)) {
            // Networks side by side are blocks of a diagonal, whose pattern shows nothing and is large.
            return Ok(records);
        }
        for (layer, workspace) in self.model.store().iter().zip(&self.evolution.workspaces) {
            let Some(weight) = layer.weight().sparse() else { continue };
            let (gpu, pattern) = (&self.gpu, weight.pattern());
            let (topology, places) = (pattern.topology(gpu)?, pattern.places());
            let (visited, churn, updates) = match workspace {
                Some(workspace) => {
                    let visited = gpu.read::<u32>(workspace.visited())?.wait()?;
                    let counts = gpu.read::<u32>(workspace.churn())?.wait()?;
                    (visited.iter().map(|word| word.count_ones()).sum(), counts[0], counts[1])
                }
                None => (pattern.nnz() as u32, 0, 0),
            };
            let [empty_rows, empty_cols] = reference::empty_lines(&topology);
            let active = topology.active();
            let set = |member: &dyn Fn(usize) -> bool| {
                let members = topology.places().enumerate().filter(|&(slot, _)| member(slot));
                to_hex(&bits::set(places, members.map(|(_, place)| place)), places)
            };
            records.push(LayerRecord {
                name: layer.name().to_owned(),
                row_blocks: pattern.row_blocks(),
                col_blocks: pattern.col_blocks(),
                block: pattern.block(),
                nnz: pattern.nnz(),
                updates: updates.into(),
                churn: churn.into(),
                empty_rows,
                empty_cols,
                visited: f64::from(visited) / places as f64,
                pattern: set(&|_| true),
                resting: active.contains(&false).then(|| set(&|slot| !active[slot])),
            });
        }
        Ok(records)
    }
}
