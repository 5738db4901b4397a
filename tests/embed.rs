//! Fretwork on devices that are not its own.

use fretwork::check::{self, Verdict};
use fretwork::gpu::Gpu;
use fretwork::wgpu;

/// Every dispatch of every kernel passes WebGPU's own validation, on an adopted device with default limits. The device is
/// wgpu's make-believe one, which needs no driver and computes nothing.
#[test]
fn every_dispatch_is_valid_without_a_driver() {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop.enable = true;
    let instance = wgpu::Instance::new(descriptor);
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .expect("noop is enabled");
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))
        .expect("noop has devices");
    let gpu = Gpu::adopt(device, queue, adapter.get_info(), None);
    let mut wrong = 0;
    // It has no half precision and no subgroups.
    for check in check::table().iter().filter(|check| check.applies_to(&gpu)) {
        match check.run(&gpu) {
            Ok(Verdict::Wrong(_)) => wrong += 1,
            Ok(Verdict::Right(_)) => {}
            Err(error) => panic!("{}: {error}", check.name),
        }
    }
    // What computes nothing must not pass for right.
    assert!(wrong > 200, "only {wrong} checks object to a device that computes nothing");
}
