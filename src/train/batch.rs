//! Where rows are on their way to the device.

use half::f16;
use half::slice::HalfFloatSliceExt as _;

use super::Settings;
use super::plans::Room;
use crate::Result;
use crate::data::{Input, Rows};
use crate::gpu::{DType, Gpu, Tensor};
use crate::graph::Network;
use crate::ops::StepValues;

/// A batch, on the host and on the device.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) room: Room,
    /// How many rows it has room for.
    rows: usize,
    /// Where the network takes it in.
    input: Tensor,
    /// The host's side, filled and written again and again.
    host_input: Input,
    host_labels: Vec<u32>,
    /// The host's side of features in half precision.
    halves: Vec<f16>,
}

impl Batch {
    /// Room for the batches of a run.
    pub(super) fn new(gpu: &Gpu, model: &Network, settings: &Settings) -> Result<Self> {
        let input = model.input().clone();
        Ok(Self {
            room: Room::new(gpu, model, settings.precision.half())?,
            rows: settings.batch,
            host_input: match input.dtype() {
                DType::U32 => Input::Ids(vec![0; input.len()]),
                _ => Input::Floats(vec![0.0; input.len()]),
            },
            host_labels: vec![0; model.logits().shape()[0]],
            halves: match input.dtype() {
                DType::F16 => vec![f16::ZERO; input.len()],
                _ => Vec::new(),
            },
            input,
        })
    }

    /// How many labels a row has: one, or one for each character of a text.
    pub(super) fn labels_per_row(&self) -> usize {
        self.host_labels.len() / self.rows
    }

    /// Sends rows and the step's values to the device, ahead of what is submitted next.
    pub(super) fn load(&mut self, gpu: &Gpu, data: &Rows, rows: &[u32], values: StepValues) -> Result<()> {
        data.fill(rows, &mut self.host_input, &mut self.host_labels);
        match &self.host_input {
            Input::Floats(features) if self.input.dtype() == DType::F16 => {
                self.halves.convert_from_f32_slice(features);
                gpu.write(&self.input, &self.halves)?;
            }
            Input::Floats(features) => gpu.write(&self.input, features)?,
            Input::Ids(ids) => gpu.write(&self.input, ids)?,
        }
        gpu.write(&self.room.labels, &self.host_labels)?;
        self.room.step.write(gpu, values)
    }
}
