//! Both ways to share a device.

use burn_core::tensor::{Device, DeviceKind, Tensor};
use fretwork_burn::fretwork::gpu::{Gpu, Options};
use fretwork_burn::{Error, FEATURES, SparseLinearConfig, adopt, lend};

use crate::{device, floats};

fn output(device: &Device) -> Vec<f32> {
    let layer = SparseLinearConfig::new(32, 32).density(0.5).init(device);
    floats(layer.forward(Tensor::<2>::ones([3, 32], device) * 2.0))
}

/// Burn works on fretwork's device, and the bits are those of the other direction.
#[test]
fn fretwork_lends_its_device() {
    let gpu = Gpu::request(Options { features: FEATURES, ..Options::default() }).unwrap();
    let lent = lend(&gpu).unwrap();
    assert_eq!(output(&lent), output(&device()));
    let layer = SparseLinearConfig::new(32, 32).density(0.5).init(&lent.autodiff());
    let y = layer.forward(Tensor::<2>::ones([3, 32], &layer.values.val().device()));
    let grads = y.sum().backward();
    assert!(floats(layer.values.val().grad(&grads).unwrap()).iter().all(|&slope| slope == 3.0));
    assert_eq!(gpu.blocking_waits(), 0);
}

/// A program's own setup, given to Burn and then to fretwork.
#[test]
fn a_programs_own_setup_serves_both() {
    let gpu = Gpu::request(Options { features: FEATURES, ..Options::default() }).unwrap();
    let origin = gpu.origin().unwrap();
    let setup = burn_core::tensor::wgpu::WgpuSetup {
        instance: origin.instance.clone(),
        adapter: origin.adapter.clone(),
        device: gpu.device().clone(),
        queue: gpu.queue().clone(),
        backend: gpu.info().backend,
    };
    let own = Device::wgpu_options().setup(setup.clone()).init().unwrap();
    let refused = SparseLinearConfig::new(32, 32).try_init(&own).unwrap_err();
    assert!(matches!(refused, Error::NotShared { .. }), "{refused}");
    adopt(&own, &setup, Options { checked_shaders: true, ..Options::default() }).unwrap();
    assert_eq!(output(&own), output(&device()));
}

/// A device that Burn has not opened yet is opened by the first layer; one in use is refused with what to do about it.
#[test]
fn the_first_layer_opens_a_device() {
    let fresh = Device::wgpu(DeviceKind::Cpu);
    if SparseLinearConfig::new(32, 32).try_init(&fresh).is_err() {
        println!("SKIPPED: the machine has no software adapter, the only one that no other test opens");
        return;
    }
    assert_eq!(output(&fresh).len(), 96);
    assert!(fretwork_burn::init(Device::wgpu_options().device_kind(DeviceKind::Cpu)).is_err());
}

#[test]
fn an_adopted_device_and_one_without_burns_features_are_not_lent() {
    let gpu = Gpu::request(Options { features: FEATURES, ..Options::default() }).unwrap();
    let (info, queue) = (gpu.info().clone(), gpu.queue().clone());
    let adopted = Gpu::adopt(gpu.device().clone(), queue, info, None);
    assert!(matches!(lend(&adopted), Err(Error::NotOwned)));
    let plain = Gpu::request(Options { without_f16: true, ..Options::default() }).unwrap();
    let missing = plain.origin().unwrap().adapter.features() & FEATURES - plain.device().features();
    match lend(&plain) {
        Err(error) => assert!(error.to_string().contains("features: FEATURES"), "{error}"),
        Ok(_) => assert!(missing.is_empty()),
    }
}
