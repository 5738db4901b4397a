//! Dispatches recorded once and replayed as often as wanted.

use std::sync::Arc;

use naga::ScalarKind;

use super::Gpu;
use super::account::Class;
use super::buffer::Owned;
use super::context::DeviceId;
use super::kernel::{Kernel, compile_all};
use super::key::Key;
use super::reflect::Access;
use super::tensor::Tensor;
use crate::{Error, Result};

/// Collects dispatches. Nothing reaches the device before [`Recorder::finish`]'s [`Plan`] is encoded.
#[derive(Debug)]
pub struct Recorder<'g> {
    gpu: &'g Gpu,
    dispatches: Vec<Recorded>,
    /// The parameters of all dispatches, each at a place that the device accepts as a binding's offset.
    params: Vec<u8>,
}

#[derive(Debug)]
struct Recorded {
    kernel: Arc<Kernel>,
    tensors: Vec<(u32, Tensor)>,
    params: Option<(u32, u64, u64)>,
    workgroups: [u32; 2],
}

/// What a dispatch binds, by the names that the shader gives.
#[derive(Debug, Default)]
pub(crate) struct Args<'a> {
    tensors: Vec<(&'static str, &'a Tensor)>,
    scalars: Vec<(&'static str, Scalar)>,
}

#[derive(Debug, Clone, Copy)]
enum Scalar {
    U32(u32),
    F32(f32),
}

impl<'a> Args<'a> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn tensor(mut self, name: &'static str, tensor: &'a Tensor) -> Self {
        self.tensors.push((name, tensor));
        self
    }

    pub(crate) fn u32(mut self, name: &'static str, value: u32) -> Self {
        self.scalars.push((name, Scalar::U32(value)));
        self
    }

    pub(crate) fn f32(mut self, name: &'static str, value: f32) -> Self {
        self.scalars.push((name, Scalar::F32(value)));
        self
    }

    /// A count or a size; one that does not fit the device's 32 bits is refused by name.
    pub(crate) fn size(self, op: &str, name: &'static str, value: usize) -> Result<Self> {
        let value = u32::try_from(value).map_err(|_| Error::argument(op, name, "below 2^32", value))?;
        Ok(self.u32(name, value))
    }
}

impl<'g> Recorder<'g> {
    /// An empty recording for `gpu`.
    pub fn new(gpu: &'g Gpu) -> Self {
        Self { gpu, dispatches: Vec::new(), params: Vec::new() }
    }

    /// How many dispatches are recorded.
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// The device recorded for.
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    /// Records a dispatch of `workgroups` workgroups; none, where there is no work. Validates names, devices, types, sizes,
    /// offsets and aliasing of all bindings.
    pub(crate) fn dispatch(&mut self, key: &Key, args: &Args<'_>, workgroups: u64) -> Result<()> {
        let foreign = args.tensors.iter().find(|(_, tensor)| tensor.device() != self.gpu.id());
        if let Some((name, tensor)) = foreign {
            self.gpu.expect_own(&key.label(), name, tensor.device())?;
        }
        let kernel = self.gpu.kernel(key)?;
        // Tensors without elements cannot be bound.
        if workgroups == 0 {
            return Ok(());
        }
        let tensors = self.bind(&kernel, args)?;
        let params = self.place_params(&kernel, args)?;
        let workgroups =
            fold(&kernel.label, workgroups, self.gpu.limits().max_compute_workgroups_per_dimension)?;
        self.dispatches.push(Recorded { kernel, tensors, params, workgroups });
        Ok(())
    }

    /// Checks each tensor against what the shader declares under its name.
    fn bind(&self, kernel: &Kernel, args: &Args<'_>) -> Result<Vec<(u32, Tensor)>> {
        let label = &kernel.label;
        let limits = self.gpu.limits();
        for (name, _) in &args.tensors {
            if !kernel.reflection.bindings.iter().any(|binding| binding.name == *name) {
                return Err(Error::argument(label, name, "a binding of the shader", "unknown to it"));
            }
        }
        let mut bound: Vec<(u32, Tensor)> = Vec::new();
        let mut uses: Vec<(&'static str, &wgpu::Buffer, Access)> = Vec::new();
        for binding in &kernel.reflection.bindings {
            let Some(&(name, tensor)) = args.tensors.iter().find(|(name, _)| binding.name == *name) else {
                let message = format!("binding {:?} was given no tensor", binding.name);
                return Err(Error::Rejected { label: label.clone(), message });
            };
            let wanted = binding.dtype;
            if binding.access != Access::Uniform && tensor.dtype() != wanted {
                let found = format!("of {:?}", tensor.dtype());
                return Err(Error::argument(label, name, format!("of {wanted:?}"), found));
            }
            if tensor.bound_bytes() < binding.least_bytes {
                let wanted = format!("at least {} bytes", binding.least_bytes);
                return Err(Error::argument(label, name, wanted, format!("{} bytes", tensor.bytes())));
            }
            let (alignment, largest) = match binding.access {
                Access::Uniform => {
                    (limits.min_uniform_buffer_offset_alignment, limits.max_uniform_buffer_binding_size)
                }
                _ => (limits.min_storage_buffer_offset_alignment, limits.max_storage_buffer_binding_size),
            };
            if tensor.offset() % u64::from(alignment) != 0 {
                let wanted = format!("at an offset that is a multiple of {alignment} bytes");
                return Err(Error::argument(label, name, wanted, format!("at byte {}", tensor.offset())));
            }
            let usage = match binding.access {
                Access::Uniform => wgpu::BufferUsages::UNIFORM,
                Access::Read | Access::Write => wgpu::BufferUsages::STORAGE,
            };
            tensor.expect_usage(label, name, usage)?;
            if tensor.offset() + tensor.bound_bytes() > tensor.buffer().size() {
                let wanted = "of whole multiples of 4 bytes, or with more of its buffer behind it";
                return Err(Error::argument(label, name, wanted, format!("{tensor:?}, its buffer's end")));
            }
            if tensor.bytes() > largest {
                return Err(Error::Limit {
                    label: format!("{label}: {name}"),
                    what: "the size of a binding in bytes",
                    value: tensor.bytes(),
                    limit: largest,
                });
            }
            // WebGPU lets a dispatch use a buffer either for reading or for writing, whatever the ranges.
            for (other, buffer, access) in &uses {
                if *buffer == tensor.buffer() && (*access == Access::Write || binding.access == Access::Write)
                {
                    let wanted = format!("in another buffer than {other}");
                    return Err(Error::argument(
                        label,
                        name,
                        wanted,
                        "in the same one, and one of them is written",
                    ));
                }
            }
            uses.push((name, tensor.buffer(), binding.access));
            bound.push((binding.slot, tensor.clone()));
        }
        Ok(bound)
    }

    /// Writes the scalars to where the shader's `Params` has them.
    fn place_params(&mut self, kernel: &Kernel, args: &Args<'_>) -> Result<Option<(u32, u64, u64)>> {
        let mismatch = |name: &str, what: &str| Error::Rejected {
            label: kernel.label.clone(),
            message: format!("parameter {name:?} {what}"),
        };
        let Some((slot, bytes, members)) = &kernel.reflection.params else {
            return Ok(None);
        };
        let alignment = self.gpu.limits().min_uniform_buffer_offset_alignment as usize;
        let start = self.params.len().next_multiple_of(alignment);
        self.params.resize(start + bytes, 0);
        for member in members {
            let Some((_, scalar)) = args.scalars.iter().find(|(name, _)| member.name == *name) else {
                return Err(mismatch(&member.name, "was given no value"));
            };
            let bytes = match (*scalar, member.scalar) {
                (Scalar::U32(value), ScalarKind::Uint) => value.to_ne_bytes(),
                (Scalar::F32(value), ScalarKind::Float) => value.to_ne_bytes(),
                _ => return Err(mismatch(&member.name, "has another type in the shader")),
            };
            self.params[start + member.offset..start + member.offset + 4].copy_from_slice(&bytes);
        }
        for (name, _) in &args.scalars {
            if !members.iter().any(|member| member.name == *name) {
                return Err(mismatch(name, "is unknown to the shader"));
            }
        }
        Ok(Some((*slot, start as u64, *bytes as u64)))
    }

    /// Makes the recording ready for replay. Kernels are compiled, and one small buffer for all parameters is allocated
    /// here, and nothing later.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or what the graphics layer has to object.
    pub fn finish(self) -> Result<Plan> {
        let gpu = self.gpu;
        compile_all(gpu, self.dispatches.iter().map(|recorded| &recorded.kernel))?;
        let pipelines: Vec<_> =
            self.dispatches.iter().map(|recorded| recorded.kernel.pipeline(gpu)).collect::<Result<_>>()?;
        let params = if self.params.is_empty() { None } else { Some(gpu.uniform("params", &self.params)?) };
        let dispatches = gpu.guarded("plan", || {
            let bind = |(recorded, pipeline)| bind(gpu, recorded, pipeline, params.as_ref());
            self.dispatches.into_iter().zip(pipelines).map(bind).collect()
        })?;
        Ok(Plan { device: gpu.id(), dispatches, _params: params })
    }
}

fn bind(gpu: &Gpu, recorded: Recorded, pipeline: wgpu::ComputePipeline, params: Option<&Owned>) -> Dispatch {
    let mut entries: Vec<_> = recorded
        .tensors
        .iter()
        .map(|(slot, tensor)| wgpu::BindGroupEntry {
            binding: *slot,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: tensor.buffer(),
                offset: tensor.offset(),
                size: std::num::NonZeroU64::new(tensor.bound_bytes()),
            }),
        })
        .collect();
    if let (Some((slot, offset, bytes)), Some(params)) = (recorded.params, params) {
        entries.push(wgpu::BindGroupEntry {
            binding: slot,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: params.raw(),
                offset,
                size: std::num::NonZeroU64::new(bytes),
            }),
        });
    }
    let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&recorded.kernel.label),
        layout: &recorded.kernel.layout,
        entries: &entries,
    });
    let tensors = recorded.tensors.into_iter().map(|(_, tensor)| tensor).collect();
    Dispatch { kernel: recorded.kernel, pipeline, group, workgroups: recorded.workgroups, _tensors: tensors }
}

/// A recording that can be replayed: pipelines, bind groups and workgroup counts are made. It holds on to its
/// tensors.
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
    /// The device that it was recorded for.
    pub(super) fn device(&self) -> DeviceId {
        self.device
    }

    /// Appends the dispatches to a caller's encoder, in one compute pass. Nothing is allocated, submitted or
    /// waited for. The encoder is of the device that the plan was recorded for.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.encode_stamped(encoder, None);
    }

    /// The same with timestamps around it.
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

    /// How many dispatches there are.
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether there are none.
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

/// Folds a long grid into two dimensions; the shaders unfold it in `workgroup_index`.
fn fold(label: &str, workgroups: u64, most: u32) -> Result<[u32; 2]> {
    let most = u64::from(most);
    let rows = workgroups.div_ceil(most.max(1)).max(1);
    if rows > most {
        return Err(Error::Limit {
            label: label.to_owned(),
            what: "the number of workgroups",
            value: workgroups,
            limit: most * most,
        });
    }
    // As square as the rows allow, so that few workgroups are idle.
    Ok([workgroups.div_ceil(rows) as u32, rows as u32])
}

/// Buffers that parameters live in are not tensors, but they count all the same.
pub(super) const PARAMS_CLASS: Class = Class::Scratch;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_grids_fold_and_cover() {
        for (workgroups, most) in
            [(0, 7), (1, 7), (7, 7), (8, 7), (49, 7), (70_000, 65_535), (1 << 31, 65_535)]
        {
            let [x, y] = fold("test", workgroups, most).unwrap();
            assert!(x <= most && y <= most);
            assert!(u64::from(x) * u64::from(y) >= workgroups);
            assert!(u64::from(x) * u64::from(y) < workgroups + u64::from(y).max(2));
        }
        assert!(matches!(fold("test", 50, 7), Err(Error::Limit { value: 50, limit: 49, .. })));
        assert!(matches!(fold("test", 1, 0), Err(Error::Limit { value: 1, limit: 0, .. })));
    }
}
