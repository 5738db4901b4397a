//! Recorded dispatches, ready for replay.

use std::sync::Arc;

use super::buffer::Owned;
use super::context::Gpu;
use super::device::DeviceId;
use super::kernel::Kernel;
use super::submit::Submission;
use super::tensor::Tensor;
use crate::Result;

/// Recorded dispatches with their pipelines, bind groups and workgroup counts, to be encoded any number of times. Keeps its tensors
/// alive.
#[derive(Debug)]
pub struct Plan {
    device: DeviceId,
    dispatches: Vec<Dispatch>,
    _params: Option<Owned>,
}

#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) kernel: Arc<Kernel>,
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: [u32; 2],
    _tensors: Vec<Tensor>,
}

impl Plan {
    pub(super) fn new(device: DeviceId, dispatches: Vec<Dispatch>, params: Option<Owned>) -> Self {
        Self { device, dispatches, _params: params }
    }

    /// The device of the recording.
    pub(super) fn device(&self) -> DeviceId {
        self.device
    }

    /// Appends the dispatches to a caller's encoder, in one compute pass. Nothing is allocated, submitted or
    /// waited for. The encoder is of the device that the plan was recorded for.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.encode_stamped(encoder, None);
    }

    /// [`Plan::encode`] with timestamps around the pass.
    pub(super) fn encode_stamped(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        let mut pass =
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        for dispatch in &self.dispatches {
            dispatch.encode(&mut pass);
        }
    }

    /// Each dispatch in a pass of its own, with timestamps around it.
    pub(super) fn encode_each<'a>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        around: impl Fn(usize) -> wgpu::ComputePassTimestampWrites<'a>,
    ) {
        for (at, dispatch) in self.dispatches.iter().enumerate() {
            let timestamp_writes = Some(around(at));
            dispatch.encode(
                &mut encoder
                    .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes }),
            );
        }
    }

    /// Number of dispatches.
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether there are no dispatches.
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// The labels of the kernels in the order they run.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.dispatches.iter().map(|dispatch| dispatch.kernel.label.as_str())
    }

    pub(super) fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }
}

impl Dispatch {
    pub(super) fn new(
        kernel: Arc<Kernel>,
        pipeline: wgpu::ComputePipeline,
        group: wgpu::BindGroup,
        workgroups: [u32; 2],
        tensors: Vec<Tensor>,
    ) -> Self {
        Self { kernel, pipeline, group, workgroups, _tensors: tensors }
    }

    fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.encode_grid(pass, self.workgroups);
    }

    /// Encodes the pipeline and its bindings with no workgroup.
    pub(super) fn encode_empty(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.encode_grid(pass, [0, 0]);
    }

    fn encode_grid(&self, pass: &mut wgpu::ComputePass<'_>, [x, y]: [u32; 2]) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }
}

impl Gpu {
    /// Encodes a plan and submits it. Returns at once.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if the plan was recorded for another device, [`Error::DeviceLost`](crate::Error::DeviceLost), or [`Error::Rejected`](crate::Error::Rejected) with the
    /// graphics layer's message.
    pub fn run(&self, plan: &Plan) -> Result<Submission> {
        self.expect_own("Gpu::run", "plan", plan.device())?;
        self.submit([self.encode("plan", |encoder| plan.encode(encoder))?])
    }
}
