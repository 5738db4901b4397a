//! Recorded dispatches, ready for replay.

use std::sync::Arc;

use super::buffer::Owned;
use super::context::Gpu;
use super::device::DeviceId;
use super::kernel::Kernel;
use super::reflect::Access;
use super::sharing::Bound;
use super::submit::Submission;
use super::tensor::Tensor;
use crate::{Error, Result};

/// Recorded dispatches with their pipelines, bind groups and workgroup counts, to be encoded any number of times. Keeps its tensors
/// alive.
#[derive(Debug)]
pub struct Plan {
    device: DeviceId,
    dispatches: Vec<Dispatch>,
    params: Option<Arc<Owned>>,
    /// Marks, with the number of dispatches before each.
    marks: Vec<(usize, Mark)>,
}

#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pub(super) kernel: Arc<Kernel>,
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: [u32; 2],
    bindings: Bindings,
}

/// Tensors and parameters of a dispatch, by the slots of their bindings.
#[derive(Debug, Clone)]
pub(super) struct Bindings {
    pub(super) tensors: Vec<Bound>,
    /// Slot, offset and bytes of the parameters.
    pub(super) params: Option<(u32, u64, u64)>,
}

/// A place in a recording at which a tensor is complete, and at which other processes may exchange it.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Kind of the place: `gradient`.
    pub kind: &'static str,
    /// Name of the tensor's owner: `layers.0.weight`.
    pub name: String,
    /// The tensor, where there is one.
    pub tensor: Option<Tensor>,
}

impl Plan {
    pub(super) fn new(
        device: DeviceId,
        dispatches: Vec<Dispatch>,
        params: Option<Arc<Owned>>,
        marks: Vec<(usize, Mark)>,
    ) -> Self {
        Self { device, dispatches, params, marks }
    }

    /// Marks in the order in which the plan passes them.
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter().map(|(_, mark)| mark)
    }

    /// Cuts the plan at the marks that are wanted: the plans before and behind each, with the mark between them.
    pub fn cut(self, wanted: &dyn Fn(&Mark) -> bool) -> (Self, Vec<(Mark, Self)>) {
        let Self { device, mut dispatches, params, marks } = self;
        let part = |dispatches| Self { device, dispatches, params: params.clone(), marks: Vec::new() };
        let mut parts = Vec::new();
        for (at, mark) in marks.into_iter().rev().filter(|(_, mark)| wanted(mark)) {
            parts.push((mark, part(dispatches.split_off(at))));
        }
        parts.reverse();
        (part(dispatches), parts)
    }

    /// The plan on other tensors of the same shapes and types: wherever a dispatch binds a tensor of the first of a pair, or a part
    /// of it, the new plan binds the second. Nothing is recorded anew. A plan on a caller's own buffers, or on those of another batch.
    ///
    /// # Errors
    /// [`Error::Argument`] for a pair of other shapes, types or devices, a tensor that the plan does not bind, an offset that the
    /// device does not bind, or a tensor that overlaps one that a dispatch writes; [`Error::Rejected`] with the
    /// graphics layer's message.
    pub fn rebind(&self, gpu: &Gpu, pairs: &[(&Tensor, &Tensor)]) -> Result<Self> {
        let op = "Plan::rebind";
        gpu.expect_own(op, "plan", self.device)?;
        for (old, new) in pairs {
            gpu.expect_own(op, "tensor", new.device())?;
            new.expect_shape(op, "tensor", old.shape())?;
            new.expect_dtype(op, "tensor", old.dtype())?;
            new.expect_usage(op, "tensor", wgpu::BufferUsages::STORAGE)?;
            let alignment = u64::from(gpu.limits().min_storage_buffer_offset_alignment);
            if !new.offset().is_multiple_of(alignment) {
                let wanted = format!("at an offset that is a multiple of {alignment} bytes");
                return Err(Error::argument(op, "tensor", wanted, format!("at byte {}", new.offset())));
            }
            let binds = |bound: &Bound| bound.tensor.within(old).is_some();
            if !self.dispatches.iter().any(|dispatch| dispatch.bindings.tensors.iter().any(binds)) {
                return Err(Error::argument(op, "tensor", "bound by the plan", format!("{old:?}")));
            }
        }
        let mut all = Vec::new();
        for dispatch in &self.dispatches {
            let mut bindings = dispatch.bindings.clone();
            let mut changed = false;
            for bound in &mut bindings.tensors {
                let place =
                    |&(old, new): &(&Tensor, &'_ Tensor)| Some((bound.tensor.within(old)?, new.clone()));
                let Some((offset, new)) = pairs.iter().find_map(place) else { continue };
                bound.tensor = bound.tensor.moved_to(&new, offset);
                changed = true;
            }
            if !changed {
                all.push(dispatch.clone());
                continue;
            }
            let kernel = gpu.kernel_for(&dispatch.kernel, &bindings.tensors)?;
            let pipeline = kernel.pipeline(gpu.core())?;
            let (params, workgroups) = (self.params.as_deref(), dispatch.workgroups);
            all.push(
                gpu.core().guarded("rebind", || {
                    Dispatch::new(gpu, kernel, pipeline, bindings, params, workgroups)
                })?,
            );
        }
        Ok(Self {
            device: self.device,
            dispatches: all,
            params: self.params.clone(),
            marks: self.marks.clone(),
        })
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
    /// The dispatch with its bind group. Call it within an error scope.
    pub(super) fn new(
        gpu: &Gpu,
        kernel: Arc<Kernel>,
        pipeline: wgpu::ComputePipeline,
        bindings: Bindings,
        params: Option<&Owned>,
        workgroups: [u32; 2],
    ) -> Self {
        let entry = |binding, buffer, offset, bytes| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: std::num::NonZeroU64::new(bytes),
            }),
        };
        let tensors = bindings.tensors.iter();
        let mut entries: Vec<_> = tensors
            .map(|Bound { slot, tensor, .. }| {
                entry(*slot, tensor.buffer(), tensor.offset(), tensor.bound_bytes())
            })
            .collect();
        if let (Some((slot, offset, bytes)), Some(params)) = (bindings.params, params) {
            entries.push(entry(slot, params.raw(), offset, bytes));
        }
        let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&kernel.label),
            layout: &kernel.layout,
            entries: &entries,
        });
        Self { kernel, pipeline, group, workgroups, bindings }
    }

    fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.encode_grid(pass, self.workgroups);
    }

    /// Whether the dispatch depends on an earlier use of one of its buffers; its own uses take their place.
    pub(super) fn waits(&self, uses: &mut Vec<(wgpu::Buffer, Access)>) -> bool {
        let bindings = &self.kernel.reflection.bindings;
        let own = self.bindings.tensors.iter().filter_map(|bound| {
            let binding = bindings.iter().find(|binding| binding.slot == bound.slot)?;
            Some((bound.tensor.buffer(), binding.access))
        });
        let writes = |access: Access| access == Access::Write;
        let waits = own.clone().any(|(buffer, access)| {
            uses.iter().any(|(used, last)| used == buffer && (writes(*last) || writes(access)))
        });
        for (buffer, access) in own {
            uses.retain(|(used, _)| used != buffer);
            uses.push((buffer.clone(), access));
        }
        waits
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
    /// [`Error::Argument`](crate::Error::Argument) if the plan was recorded for another device,
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), [`Error::Halted`](crate::Error::Halted), or
    /// [`Error::Rejected`](crate::Error::Rejected) with the graphics layer's message.
    pub fn run(&self, plan: &Plan) -> Result<Submission> {
        self.expect_own("Gpu::run", "plan", plan.device())?;
        self.prepare(plan)?;
        self.submit([self.encode("plan", |encoder| plan.encode(encoder))?])
    }
}
