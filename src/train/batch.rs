//! Batches: their buffers, and their transfer to the device.

use super::feed::Feed;
use super::plans::StepBuffers;
use super::{Objective, Settings};
use crate::Result;
use crate::data::{HostTargets, Rows};
use crate::gpu::Gpu;
use crate::graph::Network;
use crate::ops::StepValues;

/// Batch on the host and on the device.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) buffers: StepBuffers,
    /// Rows of the network's output per row of the data.
    labels: usize,
    /// Losses of a label in training and in tests: one of each network, or one of the network that has the row.
    answers: [usize; 2],
    feed: Feed,
}

impl Batch {
    /// Buffers for the batches of a run.
    pub(super) fn new(
        gpu: &Gpu,
        model: &Network,
        objective: &dyn Objective,
        settings: &Settings,
    ) -> Result<Self> {
        let buffers = StepBuffers::new(gpu, model, objective, settings.precision.half())?;
        Ok(Self {
            labels: buffers.targets.shape()[0] / settings.pass_rows(),
            answers: [
                objective.networks().filter(|_| !objective.shares_out_rows()).unwrap_or(1),
                objective.networks().unwrap_or(1),
            ],
            feed: Feed::new(model, settings.pass_rows(), buffers.targets.dtype(), buffers.targets.len()),
            buffers,
        })
    }

    /// Labels per row: 1, or one per byte of a text.
    pub(super) fn labels_per_row(&self) -> usize {
        self.labels
    }

    /// Losses of a training row: one for each label and network that it counts for.
    pub(super) fn losses_per_row(&self) -> usize {
        self.labels * self.answers[0]
    }

    /// Losses of a test row: one for each label and network.
    pub(super) fn test_losses_per_row(&self) -> usize {
        self.labels * self.answers[1]
    }

    /// Class of each place of the batch that was loaded last; none where targets are numbers.
    pub(super) fn classes(&self) -> &[u32] {
        match self.feed.targets() {
            HostTargets::Classes(classes) => classes,
            HostTargets::Values(_) => &[],
        }
    }

    /// Writes rows and the step's values to the device, ahead of the next submission.
    pub(super) fn load(&mut self, gpu: &Gpu, data: &Rows, rows: &[u32], values: StepValues) -> Result<()> {
        self.feed.load(gpu, data, rows)?;
        match self.feed.targets() {
            HostTargets::Classes(classes) => gpu.write(&self.buffers.targets, classes)?,
            HostTargets::Values(values) => gpu.write(&self.buffers.targets, values)?,
        }
        self.buffers.step.write(gpu, values)
    }
}
