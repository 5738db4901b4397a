//! Kernels of a device, composed and compiled at their first use and kept by key.

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};

use super::compose::Sources;
use super::device::Device;
use super::key::Key;
use super::reflect::{Access, MAIN, Reflection, reflect};
use crate::{Error, Result};

/// A permutation of a shader: its bindings are known, and the driver compiles it when a plan needs it.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(super) key: Key,
    pub(super) label: String,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) reflection: Reflection,
    pipeline_layout: wgpu::PipelineLayout,
    /// Whether the shader is compiled with bounds checks.
    checked: bool,
    state: Mutex<State>,
    /// Whether [`Gpu::compile`](super::Gpu::compile) has dispatched it. Some drivers compile at the first dispatch.
    pub(super) has_run: AtomicBool,
}

#[derive(Debug)]
enum State {
    /// The composed text.
    Source(String),
    Compiled(wgpu::ComputePipeline),
}

/// The shader sources of one device, and the kernels composed of them.
#[derive(Debug)]
pub(super) struct Registry {
    sources: RwLock<Sources>,
    /// Whether this library's shaders are compiled with bounds checks, too.
    pub(super) checked: bool,
    kernels: Mutex<HashMap<Key, Arc<Kernel>>>,
}

impl Registry {
    pub(super) fn new(sources: Sources, checked: bool) -> Self {
        Self { sources: RwLock::new(sources), checked, kernels: Mutex::default() }
    }

    pub(super) fn sources(&self) -> RwLockReadGuard<'_, Sources> {
        self.sources.read().expect("no holder of this lock panics")
    }

    /// Adds a source from outside this library; see [`Gpu::add_shader`](super::Gpu::add_shader).
    pub(super) fn add(
        &self,
        family: &'static str,
        name: &'static str,
        source: Cow<'static, str>,
    ) -> Result<Key> {
        self.sources.write().expect("no holder of this lock panics").add(family, name, source)
    }

    /// The kernel of `key`, composed at its first use.
    pub(super) fn get(&self, device: &Device, key: &Key) -> Result<Arc<Kernel>> {
        if let Some(kernel) = self.kernels.lock().expect("no holder of this lock panics").get(key) {
            return Ok(Arc::clone(kernel));
        }
        let kernel = Arc::new(Kernel::new(device, &self.sources(), self.checked, key)?);
        self.kernels.lock().expect("no holder of this lock panics").insert(key.clone(), Arc::clone(&kernel));
        Ok(kernel)
    }
}

impl Kernel {
    fn new(device: &Device, sources: &Sources, checked: bool, key: &Key) -> Result<Self> {
        let label = key.label();
        if key.is_half() && !device.has_f16 {
            let feature = "half precision (SHADER_F16)".to_owned();
            return Err(Error::Unsupported { label, feature, adapter: device.info.name.clone() });
        }
        let composed = sources.compose(key)?;
        let reflection = reflect(&composed)?;
        check_limits(&device.limits, &label, &reflection)?;

        let mut entries: Vec<_> = reflection
            .bindings
            .iter()
            .map(|binding| {
                let ty = match binding.access {
                    Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Access::Write => wgpu::BufferBindingType::Storage { read_only: false },
                    Access::Uniform => wgpu::BufferBindingType::Uniform,
                };
                layout_entry(binding.slot, ty, binding.least_bytes)
            })
            .collect();
        if let Some((slot, bytes, _)) = reflection.params {
            entries.push(layout_entry(slot, wgpu::BufferBindingType::Uniform, bytes as u64));
        }
        let (layout, pipeline_layout) = device.guarded(&label, || {
            let layout = device.raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(&label),
                entries: &entries,
            });
            let pipeline_layout = device.raw.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            (layout, pipeline_layout)
        })?;
        let state = Mutex::new(State::Source(composed.wgsl));
        // Bindings of a shader from outside are checked against its declarations, but nothing checks the indices it computes.
        let checked = checked || sources.is_added(key);
        Ok(Self {
            key: key.clone(),
            label,
            layout,
            reflection,
            pipeline_layout,
            checked,
            state,
            has_run: AtomicBool::new(false),
        })
    }

    /// The pipeline, compiled at its first use.
    pub(super) fn pipeline(&self, device: &Device) -> Result<wgpu::ComputePipeline> {
        // The lock is held while compiling, so that no two threads compile one kernel.
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let source = match &*state {
            State::Compiled(pipeline) => return Ok(pipeline.clone()),
            State::Source(source) => source,
        };
        device.expect_wanted()?;
        let pipeline = device.guarded(&self.label, || {
            let source = wgpu::ShaderSource::Wgsl(source.into());
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&self.label), source };
            let module = if self.checked {
                device.raw.create_shader_module(descriptor)
            } else {
                trusted(&device.raw, descriptor)
            };
            device.raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&self.label),
                layout: Some(&self.pipeline_layout),
                module: &module,
                entry_point: Some(MAIN),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // This library's kernels write their workgroup memory before they read it.
                    zero_initialize_workgroup_memory: self.checked,
                    ..Default::default()
                },
                cache: None,
            })
        })?;
        *state = State::Compiled(pipeline.clone());
        Ok(pipeline)
    }

    fn is_compiled(&self) -> bool {
        // A locked kernel is being compiled.
        self.state.try_lock().is_ok_and(|state| matches!(*state, State::Compiled(_)))
    }
}

/// Compiles kernels that are not compiled yet, on a thread per processor.
pub(super) fn compile_all<'a>(device: &Device, kernels: impl Iterator<Item = &'a Arc<Kernel>>) -> Result<()> {
    let mut waiting: Vec<&Arc<Kernel>> = kernels.filter(|kernel| !kernel.is_compiled()).collect();
    waiting.sort_by_key(|kernel| Arc::as_ptr(kernel));
    waiting.dedup_by_key(|kernel| Arc::as_ptr(kernel));
    // The number of processors is read from files of the system, which takes as long as all else of a small recording.
    let threads = match waiting.len() {
        most @ 0..2 => most,
        most => std::thread::available_parallelism().map_or(1, NonZero::get).min(most),
    };
    if threads < 2 {
        return waiting.iter().try_for_each(|kernel| kernel.pipeline(device).map(|_| ()));
    }
    // Work queue: each thread takes the next kernel.
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(kernel) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) {
            kernel.pipeline(device)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let panicked =
            || Error::Rejected { label: "compiling".to_owned(), message: "a thread panicked".to_owned() };
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| panicked())?)
    })
}

/// Compiles without bounds checks, which cost up to half of a kernel's speed.
#[expect(unsafe_code, reason = "wgpu cannot know that the indices are in range; this library sees to it")]
fn trusted(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: Only shaders of this library come here, and only its operations dispatch them: these check shapes against
    // bindings before a dispatch is recorded; indices that come from data are those of a topology, which is validated when it
    // is made; every loop is bounded by one of these.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

fn layout_entry(binding: u32, ty: wgpu::BufferBindingType, least: u64) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: std::num::NonZeroU64::new(least),
        },
        count: None,
    }
}

fn check_limits(limits: &wgpu::Limits, label: &str, reflection: &Reflection) -> Result<()> {
    let storage = reflection.bindings.iter().filter(|binding| binding.access != Access::Uniform).count();
    let [x, y, z] = reflection.workgroup;
    let invocations = [x, y, z].into_iter().fold(1, u32::saturating_mul);
    let needs = [
        ("the number of storage buffers", storage as u32, limits.max_storage_buffers_per_shader_stage),
        ("the number of invocations", invocations, limits.max_compute_invocations_per_workgroup),
        ("the workgroup's width", x, limits.max_compute_workgroup_size_x),
        ("the workgroup's height", y, limits.max_compute_workgroup_size_y),
        ("the workgroup's depth", z, limits.max_compute_workgroup_size_z),
    ];
    for (what, value, limit) in needs {
        if value > limit {
            return Err(Error::Limit {
                label: label.to_owned(),
                what,
                value: value.into(),
                limit: limit.into(),
            });
        }
    }
    Ok(())
}
