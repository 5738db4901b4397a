//! The device: chosen or adopted, with everything that belongs to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::account::{Bytes, Class};
use super::buffer::{Owned, Store, size_class};
use super::compose::Sources;
use super::kernel::{Kernel, Registry};
use super::key::{Choice, Key, Variant};
use super::readback::Pending;
use super::recorder::{PARAMS_CLASS, Plan};
use super::tensor::{Element, Tensor, byte_size};
use super::tuner::{ShapeClass, Table, Verdict, Workload};
use crate::{Error, Result};

/// How to choose an adapter and what to do with it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Part of the adapter's name, in any case. Without it the environment variable `FRETWORK_ADAPTER` is looked
    /// at; without that the best adapter is taken: discrete, then integrated, virtual, software.
    pub adapter: Option<String>,
    /// Compile shaders with bounds checks. Up to twice as slow; for tests and for chasing driver bugs.
    pub checked_shaders: bool,
    /// The shader files. The environment variable `FRETWORK_SHADERS` names a folder to take them from instead, so that
    /// a kernel can be changed without building anything.
    pub sources: Sources,
    /// Use no more than WebGPU's default limits, even where the adapter offers more.
    pub default_limits: bool,
    /// Pretend that a grid may have at most this many workgroups in a dimension.
    pub fold_grids_at: Option<u32>,
    /// Pretend that a binding may have at most this many bytes, so that larger tensors are worked on window by window.
    pub largest_binding: Option<u64>,
    /// Pretend that the adapter has no half precision.
    pub without_f16: bool,
    /// Use this variant of every matmul. Without it the environment variable `FRETWORK_VARIANT` is looked at;
    /// without that each call takes what was measured to suit the device and the shape, or what should.
    pub variant: Option<Choice>,
}

/// The cooperative matrices of a device that kernels can use: f16 times f16 into f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrices {
    /// 16 or 8: matrices are square.
    pub side: u32,
    /// The most invocations that a subgroup, which works on one together, may have.
    pub lanes: u32,
}

impl Matrices {
    /// The largest that an adapter has, of what WGSL can say: squares of 16 or 8, f16 into f32 without saturation.
    fn of(adapter: &wgpu::Adapter) -> Option<Self> {
        let needed = wgpu::Features::SHADER_F16
            | wgpu::Features::SUBGROUP
            | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let info = adapter.get_info();
        let lanes = info.subgroup_max_size;
        // A workgroup has up to four subgroups, and by WebGPU's default limits up to 256 invocations. lavapipe 26.2.6 crashes on
        // any store of a matrix by sixteen, and opens no device with matrices for four.
        let most = if info.device_type == wgpu::DeviceType::Cpu { 8 } else { 64 };
        if !adapter.features().contains(needed) || !(8..=most).contains(&lanes) {
            return None;
        }
        largest_side(&adapter.cooperative_matrix_properties()).map(|side| Self { side, lanes })
    }
}

/// The side of the largest matrices that WGSL can say and sums can be trusted to.
fn largest_side(configs: &[wgpu::CooperativeMatrixProperties]) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let usable = |config: &&wgpu::CooperativeMatrixProperties| {
        let sides = [config.m_size, config.n_size, config.k_size];
        [[8; 3], [16; 3]].contains(&sides)
            && (config.ab_type, config.cr_type) == (F16, F32)
            && !config.saturating_accumulation
    };
    configs.iter().filter(usable).map(|config| config.m_size).max()
}

/// A device and all that belongs to it: queue, kernels, buffers and their accounts. Cloning it shares them.
#[derive(Debug, Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
    forced: Option<Choice>,
}

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    matrices: Option<Matrices>,
    /// Asked for once, because the system reads files to answer.
    threads: u32,
    sources: Sources,
    checked_shaders: bool,
    registry: Registry,
    table: Table,
    store: Arc<Store>,
    lost: Arc<Mutex<Option<String>>>,
    blocking_waits: AtomicU64,
}

impl Gpu {
    /// Opens the adapter that `options` ask for.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the names there are, [`Error::NoDevice`] with the driver's reason.
    pub fn request(mut options: Options) -> Result<Self> {
        let wanted = options.adapter.clone().or_else(|| std::env::var("FRETWORK_ADAPTER").ok());
        if let (None, Ok(name)) = (options.variant, std::env::var("FRETWORK_VARIANT")) {
            options.variant = Some(name.parse()?);
        }
        if let Some(folder) = std::env::var_os("FRETWORK_SHADERS") {
            options.sources = Sources::read(folder.as_ref())?;
        }
        let mut adapters = adapters();
        let found: Vec<_> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
        if let Some(wanted) = &wanted {
            let wanted = wanted.to_lowercase();
            adapters.retain(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted));
        }
        let Some(adapter) = adapters.first() else { return Err(Error::NoAdapter { wanted, found }) };

        let info = adapter.get_info();
        let mut limits = if options.default_limits { wgpu::Limits::default() } else { adapter.limits() };
        if let Some(most) = options.fold_grids_at {
            limits.max_compute_workgroups_per_dimension = most;
        }
        if let Some(most) = options.largest_binding {
            limits.max_storage_buffer_binding_size = most;
        }
        let mut features = wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY;
        if !options.without_f16 {
            features |= wgpu::Features::SHADER_F16;
        }
        let matrices = Matrices::of(adapter).filter(|_| !options.without_f16);
        if matrices.is_some() {
            features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        }
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("fretwork"),
            required_features: adapter.features() & features,
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::Performance,
            experimental_features: if matrices.is_some() {
                experimental()
            } else {
                wgpu::ExperimentalFeatures::disabled()
            },
            ..Default::default()
        }))
        .map_err(|error| Error::NoDevice { adapter: info.name.clone(), reason: error.to_string() })?;

        let gpu = Self::assemble(device, queue, info, matrices, options);
        // The device is ours alone, so we may listen to it. What escapes the error scopes would otherwise panic.
        let lost = Arc::clone(&gpu.inner.lost);
        gpu.inner.device.set_device_lost_callback(move |reason, message| {
            note_loss(&lost, format!("{reason:?}: {message}"));
        });
        let lost = Arc::clone(&gpu.inner.lost);
        gpu.inner.device.on_uncaptured_error(Arc::new(move |error| note_loss(&lost, error.to_string())));
        Ok(gpu)
    }

    /// Works on a caller's device. No callback is installed on it, nothing is assumed of it but its own features
    /// and limits, and nothing here ever waits for it, save [`Pending::wait`], [`Gpu::pace`] and
    /// [`Gpu::finish`], where the caller asks for it. Cooperative matrices are not used: a device does not tell which its
    /// adapter has.
    pub fn adopt(device: wgpu::Device, queue: wgpu::Queue, info: wgpu::AdapterInfo) -> Self {
        Self::assemble(device, queue, info, None, Options::default())
    }

    fn assemble(
        device: wgpu::Device,
        queue: wgpu::Queue,
        info: wgpu::AdapterInfo,
        matrices: Option<Matrices>,
        options: Options,
    ) -> Self {
        let threads = match std::thread::available_parallelism() {
            // As lavapipe has it.
            Ok(threads) if info.device_type == wgpu::DeviceType::Cpu => threads.get().min(32) as u32,
            _ => 1,
        };
        let inner = Inner {
            matrices,
            threads,
            limits: device.limits(),
            device,
            queue,
            info,
            sources: options.sources,
            checked_shaders: options.checked_shaders,
            registry: Registry::default(),
            table: Table::default(),
            store: Arc::default(),
            lost: Arc::default(),
            blocking_waits: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner), forced: options.variant }
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// Its queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// The adapter's name, kind and driver.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.inner.info
    }

    /// What the device allows.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.inner.limits
    }

    /// Whether this is a driver that runs on the CPU.
    pub fn is_software(&self) -> bool {
        self.inner.info.device_type == wgpu::DeviceType::Cpu
    }

    /// How many threads a driver that runs on the CPU shares workgroups out to, each a run of neighbours; 1 for any other.
    pub(crate) fn threads(&self) -> u32 {
        self.inner.threads
    }

    /// The driver's name and version.
    pub fn driver(&self) -> String {
        format!("{} {}", self.inner.info.driver, self.inner.info.driver_info).trim().to_owned()
    }

    /// The variant that every matmul must use, if one is forced.
    pub fn forced_variant(&self) -> Option<Variant> {
        self.forced.map(|choice| choice.variant)
    }

    /// The same with its configuration.
    pub(crate) fn forced(&self) -> Option<Choice> {
        self.forced
    }

    /// Whether the device has half precision: tensors of [`DType::F16`](super::DType::F16) may be operands and results.
    pub fn has_f16(&self) -> bool {
        self.device().features().contains(wgpu::Features::SHADER_F16)
    }

    /// The cooperative matrices that [`Variant::Coop`] uses, where there are any.
    pub fn matrices(&self) -> Option<Matrices> {
        self.inner.matrices
    }

    /// Whether the device can run a variant: all but [`Variant::Wave`], which needs subgroups of eight, and
    /// [`Variant::Coop`], which needs cooperative matrices.
    pub fn runs(&self, variant: Variant) -> bool {
        let info = self.info();
        match variant {
            Variant::Lane | Variant::Tile => true,
            Variant::Wave => {
                self.device().features().contains(wgpu::Features::SUBGROUP)
                    && [info.subgroup_min_size, info.subgroup_max_size] == [8, 8]
            }
            Variant::Coop => self.matrices().is_some(),
        }
    }

    /// The same device, with another variant forced, or none.
    #[must_use]
    pub fn with_variant(&self, variant: Option<Variant>) -> Self {
        self.with_choice(variant.map(Choice::from))
    }

    /// The same device, with a variant forced in one of its configurations, or none.
    #[must_use]
    pub fn with_choice(&self, choice: Option<Choice>) -> Self {
        Self { inner: Arc::clone(&self.inner), forced: choice }
    }

    /// What was chosen for a shape, if it has been. That the shape is wanted is noted.
    pub(crate) fn chosen_for(&self, work: &Workload) -> Option<Choice> {
        self.inner.table.look_up(work)
    }

    /// A shape of each class that was recorded on this device with no variant forced, and what has been found out about it.
    pub fn workloads(&self) -> Vec<(Workload, Option<Verdict>)> {
        self.inner.table.asked()
    }

    /// What has been chosen for shapes of a class. Recordings made from now on use it.
    pub fn choose(&self, class: ShapeClass, verdict: Verdict) {
        self.inner.table.insert(class, verdict);
    }

    /// Everything that has been chosen.
    pub fn choices(&self) -> Vec<(ShapeClass, Verdict)> {
        self.inner.table.chosen()
    }

    pub(crate) fn sources(&self) -> &Sources {
        &self.inner.sources
    }

    pub(crate) fn checked_shaders(&self) -> bool {
        self.inner.checked_shaders
    }

    pub(super) fn kernel(&self, key: &Key) -> Result<Arc<Kernel>> {
        self.inner.registry.get(self, key)
    }

    /// Bytes in use, by class.
    pub fn bytes(&self) -> Bytes {
        self.inner.store.ledger.now()
    }

    /// The most bytes that were in use at one time.
    pub fn peak_bytes(&self) -> u64 {
        self.inner.store.ledger.peak()
    }

    /// Bytes that are kept for reuse and used by nothing.
    pub fn idle_bytes(&self) -> u64 {
        self.inner.store.idle_bytes()
    }

    /// Frees what is kept for reuse, and takes back a peak: what came and went since is of no account to a run.
    pub(crate) fn forget_since(&self, peak: u64) {
        self.inner.store.clear();
        self.inner.store.ledger.set_peak(peak);
    }

    /// How often the host has waited for the device to run dry.
    pub fn blocking_waits(&self) -> u64 {
        self.inner.blocking_waits.load(Ordering::Relaxed)
    }

    /// A tensor with unspecified contents.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or [`Error::Limit`] for a size no buffer of this device may have.
    pub fn alloc<T: Element>(&self, class: Class, label: &str, shape: &[usize]) -> Result<Tensor> {
        let bytes = byte_size(shape, T::DTYPE)?;
        let limit = self.inner.limits.max_buffer_size;
        let mut size = size_class(class, bytes);
        if size > limit {
            // What is rounded up for the next user must not keep this one out.
            size = bytes.next_multiple_of(16);
        }
        if size > limit {
            let what = "the size of a buffer in bytes";
            return Err(Error::Limit { label: label.to_owned(), what, value: size, limit });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let reused = if class.is_pooled() { self.inner.store.reuse(size) } else { None };
        let raw = match reused {
            Some(raw) => raw,
            None => self.create_buffer(label, size, usage).or_else(|_| {
                // Idle buffers may be what is in the way.
                self.inner.store.clear();
                self.create_buffer(label, size, usage)
            })?,
        };
        Ok(Tensor::owned(Owned::new(raw, class, Arc::clone(&self.inner.store)), shape, T::DTYPE))
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// As [`Gpu::alloc`].
    pub fn zeros<T: Element>(&self, class: Class, label: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.alloc::<T>(class, label, shape)?;
        let mut encoder =
            self.inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(tensor.buffer(), 0, None);
        self.submit([encoder.finish()])?;
        Ok(tensor)
    }

    /// A tensor with `values`.
    ///
    /// # Errors
    /// As [`Gpu::alloc`], and [`Error::Argument`] if the shape holds another number of elements.
    pub fn upload<T: Element>(
        &self,
        class: Class,
        label: &str,
        shape: &[usize],
        values: &[T],
    ) -> Result<Tensor> {
        let tensor = self.alloc::<T>(class, label, shape)?;
        self.write(&tensor, values)?;
        Ok(tensor)
    }

    /// Overwrites a tensor, after everything submitted so far and before anything submitted later.
    ///
    /// # Errors
    /// [`Error::Argument`] if type or number of elements differ, or if `tensor` begins or ends amid four bytes, as an odd
    /// number of halves does, and is not the end of a buffer of this library's.
    pub fn write<T: Element>(&self, tensor: &Tensor, values: &[T]) -> Result<()> {
        if tensor.dtype() != T::DTYPE || tensor.len() != values.len() {
            let found = format!("{} of {:?}", values.len(), T::DTYPE);
            return Err(Error::argument("Gpu::write", "values", format!("{tensor:?}"), found));
        }
        if values.is_empty() {
            return Ok(());
        }
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let unit = wgpu::COPY_BUFFER_ALIGNMENT;
        let ragged = !tensor.bytes().is_multiple_of(unit);
        if !tensor.offset().is_multiple_of(unit) || ragged && !tensor.ends_its_buffer() {
            let wanted = format!("of a multiple of {unit} bytes, at such an offset");
            return Err(Error::argument("Gpu::write", "tensor", wanted, format!("{tensor:?}")));
        }
        self.guarded("write", || {
            if ragged {
                let mut padded = bytes.to_vec();
                padded.resize(bytes.len().next_multiple_of(unit as usize), 0);
                self.inner.queue.write_buffer(tensor.buffer(), tensor.offset(), &padded);
            } else {
                self.inner.queue.write_buffer(tensor.buffer(), tensor.offset(), bytes);
            }
        })
    }

    /// A buffer for uniforms, filled.
    pub(super) fn uniform(&self, label: &str, bytes: &[u8]) -> Result<Owned> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        // Their own usage keeps them out of the pool, so their size need not be one of its classes.
        let raw = self.create_buffer(label, (bytes.len() as u64).next_multiple_of(16), usage)?;
        self.inner.queue.write_buffer(&raw, 0, bytes);
        Ok(Owned::unpooled(raw, PARAMS_CLASS, Arc::clone(&self.inner.store)))
    }

    /// A small tensor that kernels read as a uniform.
    ///
    /// # Errors
    /// As [`Gpu::alloc`].
    pub(crate) fn uniform_words(&self, label: &str, words: &[u32]) -> Result<Tensor> {
        let owned = self.uniform(label, bytemuck::cast_slice(words))?;
        Ok(Tensor::owned(owned, &[words.len()], u32::DTYPE))
    }

    /// Starts to copy a tensor back to the host.
    ///
    /// # Errors
    /// [`Error::Argument`] if the type differs, [`Error::OutOfMemory`].
    pub fn read<T: Element>(&self, tensor: &Tensor) -> Result<Pending<T>> {
        if tensor.dtype() != T::DTYPE {
            let found = format!("{:?}", tensor.dtype());
            return Err(Error::argument("Gpu::read", "tensor", format!("of {:?}", T::DTYPE), found));
        }
        let size =
            tensor.bytes().next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT).max(wgpu::COPY_BUFFER_ALIGNMENT);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.create_buffer("read-back", size, usage)?;
        let mut encoder =
            self.inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if !tensor.is_empty() {
            encoder.copy_buffer_to_buffer(tensor.buffer(), tensor.offset(), &staging, 0, size);
        }
        let submission = self.submit([encoder.finish()])?;
        Ok(Pending::new(self, staging, submission, tensor.len()))
    }

    /// Encodes a plan and submits it. Returns at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or what the graphics layer has to object.
    pub fn run(&self, plan: &Plan) -> Result<wgpu::SubmissionIndex> {
        let mut encoder =
            self.inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        plan.encode(&mut encoder);
        self.submit([encoder.finish()])
    }

    /// Submits command buffers. Returns at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or what the graphics layer has to object.
    pub fn submit(
        &self,
        commands: impl IntoIterator<Item = wgpu::CommandBuffer>,
    ) -> Result<wgpu::SubmissionIndex> {
        let submission = self.guarded("submit", || self.inner.queue.submit(commands))?;
        self.healthy()?;
        Ok(submission)
    }

    /// Lets finished work be noticed: read-backs arrive. Never waits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll(&self) -> Result<()> {
        self.inner.device.poll(wgpu::PollType::Poll).map_err(|error| self.lost(&error.to_string()))?;
        self.healthy()
    }

    /// Holds the host back until a submission is done, while later ones keep the device busy. This bounds the
    /// work in flight; it is no round trip, because the device never idles for it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn pace(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        self.wait_on(Some(submission))
    }

    /// Waits until the device has done everything submitted so far: a round trip, counted as one.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn finish(&self) -> Result<()> {
        self.inner.blocking_waits.fetch_add(1, Ordering::Relaxed);
        self.wait_on(None)
    }

    pub(super) fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        self.inner.blocking_waits.fetch_add(1, Ordering::Relaxed);
        self.wait_on(Some(submission))
    }

    fn wait_on(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let wait = wgpu::PollType::Wait { submission_index, timeout: None };
        self.inner.device.poll(wait).map_err(|error| self.lost(&error.to_string()))?;
        self.healthy()
    }

    /// Runs graphics calls inside error scopes, so that what they object to becomes an [`Error`].
    pub(super) fn guarded<R>(&self, label: &str, calls: impl FnOnce() -> R) -> Result<R> {
        self.healthy()?;
        let device = &self.inner.device;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = calls();
        // Natively these futures are ready at once.
        let [validation, internal, memory] =
            [validation, internal, memory].map(|scope| pollster::block_on(scope.pop()));
        if memory.is_some() {
            return Err(Error::OutOfMemory { label: label.to_owned(), bytes: 0 });
        }
        match validation.or(internal) {
            Some(error) => Err(Error::Rejected { label: label.to_owned(), message: error.to_string() }),
            None => Ok(result),
        }
    }

    pub(super) fn create_buffer(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer> {
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        self.guarded(label, || self.inner.device.create_buffer(&descriptor)).map_err(|error| match error {
            Error::OutOfMemory { label, .. } => Error::OutOfMemory { label, bytes: size },
            other => other,
        })
    }

    fn healthy(&self) -> Result<()> {
        match &*self.inner.lost.lock().expect("no holder of this lock panics") {
            Some(reason) => Err(Error::DeviceLost { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    pub(super) fn lost(&self, otherwise: &str) -> Error {
        let reason = self.inner.lost.lock().expect("no holder of this lock panics").clone();
        Error::DeviceLost { reason: reason.unwrap_or_else(|| otherwise.to_owned()) }
    }
}

/// Keeps the first reason; the later ones follow from it.
fn note_loss(lost: &Mutex<Option<String>>, reason: String) {
    lost.lock().expect("no holder of this lock panics").get_or_insert(reason);
}

/// The token without which wgpu hands out nothing experimental.
#[expect(unsafe_code, reason = "wgpu asks for it, since experimental features may be unsound")]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: Of experimental features only cooperative matrices are asked for, and in the adapter's own configurations; they
    // are loaded from and stored to workgroup memory alone, within arrays that hold whole matrices.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// Every adapter that can compute, best first.
fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    adapters.retain(|adapter| {
        adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    });
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// What there is to choose from, best first.
pub fn list_adapters() -> Vec<AdapterSummary> {
    let summary = |adapter: &wgpu::Adapter| AdapterSummary {
        info: adapter.get_info(),
        features: adapter.features(),
        limits: adapter.limits(),
        matrices: Matrices::of(adapter),
    };
    adapters().iter().map(summary).collect()
}

/// One adapter, not opened.
#[derive(Debug, Clone)]
pub struct AdapterSummary {
    /// Name, kind, backend, driver.
    pub info: wgpu::AdapterInfo,
    /// Optional features it has.
    pub features: wgpu::Features,
    /// What a device on it may be given.
    pub limits: wgpu::Limits,
    /// The cooperative matrices that kernels would use.
    pub matrices: Option<Matrices>,
}

#[cfg(test)]
mod tests {
    use wgpu::CooperativeScalarType::{self, F16, F32, I32};

    use super::largest_side;

    fn config(
        [m_size, n_size, k_size]: [u32; 3],
        ab_type: CooperativeScalarType,
        cr_type: CooperativeScalarType,
        saturating_accumulation: bool,
    ) -> wgpu::CooperativeMatrixProperties {
        wgpu::CooperativeMatrixProperties {
            m_size,
            n_size,
            k_size,
            ab_type,
            cr_type,
            saturating_accumulation,
        }
    }

    #[test]
    fn only_matrices_that_shaders_can_say_are_used() {
        let unusable = [
            config([16, 8, 8], F16, F32, false),
            config([8, 16, 16], F16, F32, false),
            config([16, 16, 8], F16, F32, false),
            config([16; 3], F16, F16, false),
            config([16; 3], F32, F32, false),
            config([16; 3], I32, I32, false),
            config([16; 3], F16, F32, true),
            config([32; 3], F16, F32, false),
        ];
        assert_eq!(largest_side(&unusable), None);
        assert_eq!(largest_side(&[]), None);
        let both = [config([8; 3], F16, F32, false), unusable[3], config([16; 3], F16, F32, false)];
        assert_eq!(largest_side(&both), Some(16));
        assert_eq!(largest_side(&both[..2]), Some(8));
    }
}
