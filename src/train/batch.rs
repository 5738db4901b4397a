//! A batch on its way to the device.

use half::f16;
use half::slice::HalfFloatSliceExt as _;

use super::plans::Room;
use super::{Objective, Settings};
use crate::Result;
use crate::data::{HostBatch, HostTargets, Input, Rows};
use crate::gpu::{DType, Gpu, Tensor};
use crate::graph::Network;
use crate::ops::StepValues;

/// A batch, on the host and on the device.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) room: Room,
    /// Rows of the network's output for each row of the data.
    labels: usize,
    /// Input of the network.
    input: Tensor,
    /// The host's side, filled and written again and again.
    host: HostBatch,
    /// Features in half precision, on the host.
    halves: Vec<f16>,
}

impl Batch {
    /// Buffers for the batches of a run.
    pub(super) fn new(
        gpu: &Gpu,
        model: &Network,
        objective: &dyn Objective,
        settings: &Settings,
    ) -> Result<Self> {
        let input = model.input().clone();
        let room = Room::new(gpu, model, objective, settings.precision.half())?;
        Ok(Self {
            labels: room.targets.shape()[0] / settings.batch,
            host: HostBatch {
                places: settings.batch,
                input: match input.dtype() {
                    DType::U32 => Input::Ids(vec![0; input.len()]),
                    _ => Input::Floats(vec![0.0; input.len()]),
                },
                targets: match room.targets.dtype() {
                    DType::U32 => HostTargets::Classes(vec![0; room.targets.len()]),
                    _ => HostTargets::Values(vec![0.0; room.targets.len()]),
                },
            },
            halves: match input.dtype() {
                DType::F16 => vec![f16::ZERO; input.len()],
                _ => Vec::new(),
            },
            room,
            input,
        })
    }

    /// Labels of a row: one, or one for each character of a text.
    pub(super) fn labels_per_row(&self) -> usize {
        self.labels
    }

    /// Sends rows and the step's values to the device, ahead of what is submitted next.
    pub(super) fn load(&mut self, gpu: &Gpu, data: &Rows, rows: &[u32], values: StepValues) -> Result<()> {
        data.fill(rows, &mut self.host)?;
        match &self.host.input {
            Input::Floats(features) if self.input.dtype() == DType::F16 => {
                self.halves.convert_from_f32_slice(features);
                gpu.write(&self.input, &self.halves)?;
            }
            Input::Floats(features) => gpu.write(&self.input, features)?,
            Input::Ids(ids) => gpu.write(&self.input, ids)?,
        }
        match &self.host.targets {
            HostTargets::Classes(classes) => gpu.write(&self.room.targets, classes)?,
            HostTargets::Values(values) => gpu.write(&self.room.targets, values)?,
        }
        self.room.step.write(gpu, values)
    }
}
