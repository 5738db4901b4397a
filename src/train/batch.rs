//! Batches: their buffers, and their transfer to the device.

use half::f16;
use half::slice::HalfFloatSliceExt as _;

use super::plans::StepBuffers;
use super::{Objective, Settings};
use crate::Result;
use crate::data::{HostBatch, HostTargets, Input, Rows};
use crate::gpu::{DType, Gpu, Tensor};
use crate::graph::Network;
use crate::ops::StepValues;

/// Batch on the host and on the device.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) buffers: StepBuffers,
    /// Rows of the network's output per row of the data.
    labels: usize,
    /// Input of the network.
    input: Tensor,
    /// Host memory of the batch, reused by every step.
    host: HostBatch,
    /// Features in half precision on the host, where the input is f16.
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
        let buffers = StepBuffers::new(gpu, model, objective, settings.precision.half())?;
        Ok(Self {
            labels: buffers.targets.shape()[0] / settings.pass_rows(),
            host: HostBatch {
                places: settings.pass_rows(),
                input: match input.dtype() {
                    DType::U32 => Input::Ids(vec![0; input.len()]),
                    _ => Input::Floats(vec![0.0; input.len()]),
                },
                targets: match buffers.targets.dtype() {
                    DType::U32 => HostTargets::Classes(vec![0; buffers.targets.len()]),
                    _ => HostTargets::Values(vec![0.0; buffers.targets.len()]),
                },
            },
            halves: match input.dtype() {
                DType::F16 => vec![f16::ZERO; input.len()],
                _ => Vec::new(),
            },
            buffers,
            input,
        })
    }

    /// Labels per row: 1, or one per byte of a text.
    pub(super) fn labels_per_row(&self) -> usize {
        self.labels
    }

    /// Class of each place of the batch that was loaded last; none where targets are numbers.
    pub(super) fn classes(&self) -> &[u32] {
        match &self.host.targets {
            HostTargets::Classes(classes) => classes,
            HostTargets::Values(_) => &[],
        }
    }

    /// Writes rows and the step's values to the device, ahead of the next submission.
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
            HostTargets::Classes(classes) => gpu.write(&self.buffers.targets, classes)?,
            HostTargets::Values(values) => gpu.write(&self.buffers.targets, values)?,
        }
        self.buffers.step.write(gpu, values)
    }
}
