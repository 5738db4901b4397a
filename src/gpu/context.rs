//! The device: chosen or adopted, with everything that belongs to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::adapters::{Matrices, adapters, choose, experimental};
use super::buffer::Store;
use super::compose::Sources;
use super::kernel::{Kernel, Registry};
use super::key::{Choice, Key, Variant};
use super::loss::LossFlag;
use super::tuner::{ShapeClass, Table, Verdict, Workload};
use crate::{Error, Result};

/// How to choose an adapter and what to do with it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The adapter's place in [`list_adapters`](super::list_adapters), or its name or a part of it, in any case. Without it the
    /// environment variable `FRETWORK_ADAPTER` is looked at; without that the best adapter is taken: discrete, then integrated,
    /// virtual, software.
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

/// A device and all that belongs to it: queue, kernels, buffers and their accounts. Cloning it shares them.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(super) inner: Arc<Inner>,
    forced: Option<Choice>,
}

/// Which device something belongs to. wgpu's own ids begin anew with every instance, so they tell no two devices apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceId(u64);

impl DeviceId {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {}", self.0)
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    id: DeviceId,
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
    pub(super) store: Arc<Store>,
    pub(super) lost: LossFlag,
    /// Whether somebody sets the flag when the device is lost.
    pub(super) watched: bool,
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
    /// wgpu reports the loss of a device to its owner alone, who [passes it on](LossFlag) as `lost`: from then on every call
    /// returns [`Error::DeviceLost`]. Without the flag the next read or wait finds out, and what comes before it is lost
    /// unnoticed.
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
            // As lavapipe has it.
            Ok(threads) if info.device_type == wgpu::DeviceType::Cpu => threads.get().min(32) as u32,
            _ => 1,
        };
        let inner = Inner {
            id: DeviceId::new(),
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
            watched: lost.is_some(),
            lost: lost.unwrap_or_default(),
            blocking_waits: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner), forced: options.variant }
    }

    pub(super) fn id(&self) -> DeviceId {
        self.inner.id
    }

    /// Refuses what belongs to another device, in the name of `op` and `argument`.
    pub(crate) fn expect_own(&self, op: &str, argument: &'static str, device: DeviceId) -> Result<()> {
        if device == self.id() {
            return Ok(());
        }
        let wanted = format!("on {} ({})", self.id(), self.info().name);
        Err(Error::argument(op, argument, wanted, format!("on {device}: tensors and plans cannot be mixed")))
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

    /// How many devices may compile at once: a driver that runs on the CPU compiles on one thread for each device, so as many as
    /// there are processors, up to 8; for any other 1.
    pub fn compilers(&self) -> usize {
        self.threads().min(8) as usize
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
}
