//! [`Gpu`]: a device, chosen or adopted, with its kernels, buffers and tuned choices.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLockReadGuard};

use super::adapters::{Matrices, adapters, choose, experimental};
use super::buffer::Store;
use super::compose::Sources;
use super::device::{Device, DeviceId};
use super::halt::Halt;
use super::kernel::{Kernel, Registry};
use super::key::{Choice, Key, Variant};
use super::loss::LossFlag;
use super::tuner::{ShapeClass, Table, Verdict, Workload};
use crate::{Error, Result};

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
    /// Do not use half precision, even where the adapter has it.
    pub without_f16: bool,
    /// Variant of every matmul. Without it the environment variable `FRETWORK_VARIANT` is read; without that each call takes the
    /// tuned variant of its shape class, or the default variant.
    pub variant: Option<Choice>,
    /// Request by which another thread stops the work of the device.
    pub halt: Option<Halt>,
}

/// A device with its queue, kernels, buffers and their accounts. Clones share them.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(super) inner: Arc<Inner>,
    forced: Option<Choice>,
}

#[derive(Debug)]
pub(super) struct Inner {
    device: Device,
    matrices: Option<Matrices>,
    /// Queried once, since the system reads files for it.
    threads: u32,
    registry: Registry,
    table: Table,
    pub(super) store: Arc<Store>,
    pub(super) blocking_waits: AtomicU64,
}

impl Gpu {
    /// Opens the adapter that `options` ask for.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] or [`Error::ManyAdapters`] with the names there are, [`Error::NoDevice`] with the driver's reason.
    pub fn request(mut options: Options) -> Result<Self> {
        let wanted = options.adapter.clone().or_else(|| std::env::var("FRETWORK_ADAPTER").ok());
        if let (None, Ok(name)) = (options.variant, std::env::var("FRETWORK_VARIANT")) {
            options.variant = Some(name.parse()?);
        }
        if let Some(folder) = std::env::var_os("FRETWORK_SHADERS") {
            options.sources = Sources::read(folder.as_ref())?;
        }
        let adapters = adapters();
        let names: Vec<_> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
        let adapter = &adapters[choose(&names, wanted.as_deref())?];

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

        // The device is ours alone, so we may listen to it. What escapes the error scopes would otherwise panic.
        let lost = LossFlag::default();
        device.set_device_lost_callback(lost.callback());
        let flag = lost.clone();
        device.on_uncaptured_error(Arc::new(move |error| flag.set(error.to_string())));
        Ok(Self::assemble(device, queue, info, matrices, Some(lost), options))
    }

    /// Works on a caller's device. No callback is installed on it, nothing is assumed of it but its own features
    /// and limits, and nothing here ever waits for it, save [`Pending::wait`](super::Pending::wait), [`Gpu::pace`] and
    /// [`Gpu::finish`], where the caller asks for it. Cooperative matrices are not used: a device does not tell which its
    /// adapter has.
    ///
    /// wgpu reports the loss of a device to its owner alone, who [sets the flag](LossFlag) `lost`: from then on every call
    /// returns [`Error::DeviceLost`]. Without the flag the loss is detected by the next read or wait, and work submitted before it
    /// is lost unnoticed.
    pub fn adopt(
        device: wgpu::Device,
        queue: wgpu::Queue,
        info: wgpu::AdapterInfo,
        lost: Option<LossFlag>,
    ) -> Self {
        Self::assemble(device, queue, info, None, lost, Options::default())
    }

    fn assemble(
        device: wgpu::Device,
        queue: wgpu::Queue,
        info: wgpu::AdapterInfo,
        matrices: Option<Matrices>,
        lost: Option<LossFlag>,
        options: Options,
    ) -> Self {
        let threads = match std::thread::available_parallelism() {
            // lavapipe uses a thread per processor, up to 32.
            Ok(threads) if info.device_type == wgpu::DeviceType::Cpu => threads.get().min(32) as u32,
            _ => 1,
        };
        let inner = Inner {
            matrices,
            threads,
            device: Device::new(device, queue, info, lost, options.halt),
            registry: Registry::new(options.sources, options.checked_shaders),
            table: Table::default(),
            store: Arc::default(),
            blocking_waits: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner), forced: options.variant }
    }

    pub(super) fn id(&self) -> DeviceId {
        self.core().id
    }

    /// The device with its error scopes.
    pub(super) fn core(&self) -> &Device {
        &self.inner.device
    }

    /// [`Error::Argument`] naming `op` and `argument`, unless `device` is this one.
    pub(crate) fn expect_own(&self, op: &str, argument: &'static str, device: DeviceId) -> Result<()> {
        if device == self.id() {
            return Ok(());
        }
        let wanted = format!("on {} ({})", self.id(), self.info().name);
        Err(Error::argument(op, argument, wanted, format!("on {device}: tensors and plans cannot be mixed")))
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.core().raw
    }

    /// Its queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.core().queue
    }

    /// The adapter's name, kind and driver.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.core().info
    }

    /// Limits of the device.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.core().limits
    }

    /// Whether the driver runs on the CPU.
    pub fn is_software(&self) -> bool {
        self.core().info.device_type == wgpu::DeviceType::Cpu
    }

    /// Number of threads among which a driver on the CPU divides workgroups, in contiguous ranges; 1 for other drivers.
    pub(crate) fn threads(&self) -> u32 {
        self.inner.threads
    }

    /// Number of devices that can usefully compile at once: the number of processors, up to 8, for a driver on the CPU, which
    /// compiles on one thread per device; 1 for other drivers.
    pub fn compilers(&self) -> usize {
        self.threads().min(8) as usize
    }

    /// The driver's name and version.
    pub fn driver(&self) -> String {
        format!("{} {}", self.core().info.driver, self.core().info.driver_info).trim().to_owned()
    }

    /// The variant that every matmul must use, if forced.
    pub fn forced_variant(&self) -> Option<Variant> {
        self.forced.map(|choice| choice.variant)
    }

    /// The variant and configuration that every matmul must use, if forced.
    pub(crate) fn forced(&self) -> Option<Choice> {
        self.forced
    }

    /// Whether the device has half precision: tensors of [`DType::F16`](super::DType::F16) may be operands and results.
    pub fn has_f16(&self) -> bool {
        self.core().has_f16()
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

    /// A handle to this device with another variant forced, or none.
    #[must_use]
    pub fn with_variant(&self, variant: Option<Variant>) -> Self {
        self.with_choice(variant.map(Choice::from))
    }

    /// A handle to this device with a variant and configuration forced, or none.
    #[must_use]
    pub fn with_choice(&self, choice: Option<Choice>) -> Self {
        Self { inner: Arc::clone(&self.inner), forced: choice }
    }

    /// The choice for the shape's class, if there is one. Notes the shape for [`Gpu::workloads`].
    pub(crate) fn chosen_for(&self, work: &Workload) -> Option<Choice> {
        self.inner.table.look_up(work)
    }

    /// One shape of each class recorded on this device without a forced variant, with its verdict if there is one.
    pub fn workloads(&self) -> Vec<(Workload, Option<Verdict>)> {
        self.inner.table.asked()
    }

    /// Sets the choice for shapes of a class. Recordings made from now on use it.
    pub fn choose(&self, class: ShapeClass, verdict: Verdict) {
        self.inner.table.insert(class, verdict);
    }

    /// All choices, by class.
    pub fn choices(&self) -> Vec<(ShapeClass, Verdict)> {
        self.inner.table.chosen()
    }

    /// Adds a WGSL source under the module path `package::family::name` and returns the key of its kernel, to be dispatched by
    /// [`Recorder::dispatch`](super::Recorder::dispatch). The [conventions](super#kernels-from-outside) of this library's
    /// shaders hold for it. Clones of this `Gpu` share it.
    ///
    /// A source without an entry point can be imported by the sources added, before or after it.
    ///
    /// The kernel is composed, validated and held against the device's limits at its first dispatch. It is compiled with bounds
    /// checks, as if [`Options::checked_shaders`] were on.
    ///
    /// # Errors
    /// [`Error::Argument`] if `family` or `name` is no identifier (a letter, then letters, digits and underscores), or if there
    /// is a shader of this family and name: one of this library or one added before.
    pub fn add_shader(
        &self,
        family: &'static str,
        name: &'static str,
        source: impl Into<Cow<'static, str>>,
    ) -> Result<Key> {
        self.inner.registry.add(family, name, source.into())
    }

    /// The shader sources of this library and those added.
    pub(crate) fn sources(&self) -> RwLockReadGuard<'_, Sources> {
        self.inner.registry.sources()
    }

    pub(crate) fn checked_shaders(&self) -> bool {
        self.inner.registry.checked
    }

    pub(super) fn kernel(&self, key: &Key) -> Result<Arc<Kernel>> {
        self.inner.registry.get(self.core(), key)
    }
}
