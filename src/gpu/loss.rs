//! The flag by which the owner of a device reports its loss.

use std::sync::{Arc, OnceLock};

/// Marks a device as lost. wgpu reports a loss to one callback alone, which belongs to the device's owner: a program that
/// lets [`Gpu::adopt`](super::Gpu::adopt) have its device sets the flag there. Clones share one state.
///
/// ```no_run
/// # fn adopt(device: fretwork::wgpu::Device, queue: fretwork::wgpu::Queue, info: fretwork::wgpu::AdapterInfo) {
/// let lost = fretwork::gpu::LossFlag::default();
/// device.set_device_lost_callback(lost.callback());
/// let gpu = fretwork::gpu::Gpu::adopt(device, queue, info, Some(lost));
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct LossFlag(Arc<OnceLock<String>>);

impl LossFlag {
    /// Marks the device as lost. The first reason stays, since later ones follow from it.
    pub fn set(&self, reason: impl Into<String>) {
        self.0.get_or_init(|| reason.into());
    }

    /// The reason, once the device is lost.
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// A callback that sets the flag, for owners that have no callback of their own.
    pub fn callback(&self) -> impl Fn(wgpu::DeviceLostReason, String) + Send + use<> {
        let flag = self.clone();
        move |reason, message| flag.set(format!("{reason:?}: {message}"))
    }
}
