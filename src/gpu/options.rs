//! Options of opening or adopting a device.

use super::compose::Sources;
use super::halt::Halt;
use super::key::Choice;

/// Choice of an adapter, and settings of its device.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The adapter's place in [`list_adapters`](super::list_adapters), or its name or a part of it, in any case. Without it the
    /// environment variable `FRETWORK_ADAPTER` is read; without that the best adapter is taken: discrete, then integrated,
    /// virtual, software.
    pub adapter: Option<String>,
    /// Compile shaders with bounds checks. Up to twice as slow; for tests and for chasing driver bugs.
    pub checked_shaders: bool,
    /// The shader files. The environment variable `FRETWORK_SHADERS` names a folder to take them from instead, so that
    /// a kernel can be changed without building anything.
    pub sources: Sources,
    /// Use no more than WebGPU's default limits, even where the adapter offers more.
    pub default_limits: bool,
    /// Upper bound of the workgroups in a dimension of a grid, below the device's own.
    pub fold_grids_at: Option<u32>,
    /// Upper bound of the bytes of a binding, below the device's own: larger tensors are processed in windows.
    pub largest_binding: Option<u64>,
    /// Cut tensors out of buffers of this size in bytes, one beside the other, as pooling allocators do. Topologies and larger
    /// tensors have buffers of their own.
    pub cut_from: Option<u64>,
    /// Do not use half precision, even where the adapter has it.
    pub without_f16: bool,
    /// Features to open the device with besides those that this library uses, where the adapter has them: for another library that
    /// works on the device.
    pub features: wgpu::Features,
    /// Variant of every matmul. Without it the environment variable `FRETWORK_VARIANT` is read; without that each call takes the
    /// tuned variant of its shape class, or the default variant.
    pub variant: Option<Choice>,
    /// Request by which another thread stops the work of the device.
    pub halt: Option<Halt>,
}

impl Options {
    /// The limits to use of those there are.
    pub(super) fn limit(&self, limits: wgpu::Limits) -> wgpu::Limits {
        let limits =
            if self.default_limits { limits.or_worse_values_from(&wgpu::Limits::default()) } else { limits };
        let workgroups = limits.max_compute_workgroups_per_dimension;
        let binding = limits.max_storage_buffer_binding_size;
        wgpu::Limits {
            max_compute_workgroups_per_dimension: self.fold_grids_at.unwrap_or(workgroups).min(workgroups),
            max_storage_buffer_binding_size: self.largest_binding.unwrap_or(binding).min(binding),
            ..limits
        }
    }
}
