//! Devices that Burn and fretwork share: Burn's, adopted by fretwork, or fretwork's, lent to Burn.

use std::sync::{Arc, Mutex};

use burn_core::backend::DispatchDevice;
use burn_core::tensor::Device;
use burn_core::tensor::wgpu::{WgpuOptions, WgpuSetup};
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::wgpu::{
    AutoGraphicsApi, RuntimeOptions, WgpuDevice, WgpuDeviceKind, try_init_setup,
};
use fretwork::gpu::{Gpu, Options, ParamCache};
use fretwork::wgpu;

use crate::{Error, Result};

/// Fretwork's side of a device of Burn's.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gpu: Gpu,
    pub(crate) params: ParamCache,
}

/// Devices known so far. Burn never forgets a device either.
static DEVICES: Mutex<Vec<(WgpuDevice, Arc<Shared>)>> = Mutex::new(Vec::new());

/// Opens a wgpu device of Burn's that sparse layers can use, with Burn's options: `init(Device::wgpu_options())`.
///
/// # Errors
/// [`Error::Init`] with Burn's reason, for instance that the device is open already.
pub fn init(options: WgpuOptions) -> Result<Device> {
    let (device, setup) = options.init_with_setup()?;
    adopt(&device, &setup, Options::default())?;
    Ok(device)
}

/// Lets sparse layers use a device whose setup the program has: from `init_with_setup`, or its own that it gave to Burn with
/// `Device::wgpu_options().setup(..)`. `options` are fretwork's: checked shaders, own sources, no half precision.
///
/// # Errors
/// [`Error::Backend`] if `device` is not one of wgpu, [`Error::Fretwork`] if `options` ask for another adapter.
pub fn adopt(device: &Device, setup: &WgpuSetup, options: Options) -> Result<()> {
    let device = wgpu_device(device)?;
    let gpu = Gpu::adopt_with(&setup.adapter, setup.device.clone(), setup.queue.clone(), None, options)?;
    let mut devices = DEVICES.lock().expect("no holder of this lock panics");
    devices.retain(|(known, _)| *known != device);
    devices.push((device, Arc::new(Shared::new(gpu))));
    Ok(())
}

/// Features that Burn's kernels use where the adapter has them. Burn asks the adapter and not the device, so a device that is lent
/// to Burn is to be opened with them: `Gpu::request(Options { features: FEATURES, ..Options::default() })`.
pub const FEATURES: wgpu::Features = wgpu::Features::SUBGROUP
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SHADER_F64)
    .union(wgpu::Features::SHADER_INT64)
    .union(wgpu::Features::SHADER_FLOAT32_ATOMIC);

/// Gives Burn a device that fretwork opened. Each call makes another device of Burn's, so one `Device` is to be kept and cloned.
///
/// # Errors
/// [`Error::NotOwned`] for a device that was adopted from elsewhere, [`Error::Features`] for one that lacks some of [`FEATURES`]
/// that its adapter has, [`Error::Init`] with Burn's reason.
pub fn lend(gpu: &Gpu) -> Result<Device> {
    let origin = gpu.origin().ok_or(Error::NotOwned)?;
    let missing = (origin.adapter.features() & FEATURES) - gpu.device().features();
    if !missing.is_empty() {
        return Err(Error::Features { missing: format!("{missing:?}") });
    }
    let setup = WgpuSetup {
        instance: origin.instance.clone(),
        adapter: origin.adapter.clone(),
        device: gpu.device().clone(),
        queue: gpu.queue().clone(),
        backend: gpu.info().backend,
    };
    let device = Device::wgpu_options().setup(setup).init()?;
    let known = (wgpu_device(&device)?, Arc::new(Shared::new(gpu.clone())));
    DEVICES.lock().expect("no holder of this lock panics").push(known);
    Ok(device)
}

/// The wgpu device behind a device of Burn's.
pub(crate) fn wgpu_device(device: &Device) -> Result<WgpuDevice> {
    let inner = device.clone().without_autodiff();
    match inner.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(device)) => Ok(device.clone()),
        other => Err(Error::Backend { found: format!("{other:?}") }),
    }
}

impl Shared {
    fn new(gpu: Gpu) -> Self {
        Self { params: ParamCache::new(&gpu), gpu }
    }

    /// Fretwork's side of a device: a known one, or one that Burn has not opened yet and now opens.
    pub(crate) fn of(device: &WgpuDevice) -> Result<Arc<Self>> {
        let mut devices = DEVICES.lock().expect("no holder of this lock panics");
        if let Some((_, shared)) = devices.iter().find(|(known, _)| known == device) {
            return Ok(Arc::clone(shared));
        }
        let not_shared = |reason: String| Error::NotShared { device: format!("{device:?}"), reason };
        if matches!(device.kind, WgpuDeviceKind::Existing(_)) {
            return Err(not_shared("the program gave Burn a setup of its own".to_owned()));
        }
        let setup = RuntimeOptions::try_default()
            .and_then(|options| try_init_setup::<AutoGraphicsApi>(device, options))
            .map_err(|error| not_shared(error.to_string()))?;
        let gpu = Gpu::adopt_with(&setup.adapter, setup.device, setup.queue, None, Options::default())?;
        let shared = Arc::new(Self::new(gpu));
        devices.push((device.clone(), Arc::clone(&shared)));
        Ok(shared)
    }
}
