//! Devices that are lost: who is told, and how it is found out where nobody is.

use std::sync::{Arc, OnceLock};

use super::context::Gpu;
use crate::{Error, Result};

/// Marks a device as lost. wgpu reports a loss to one callback alone, which belongs to the device's owner: a program that
/// lets [`Gpu::adopt`] have its device sets the flag there. Clones share one state.
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

impl Gpu {
    /// Refuses to go on if the device is known to be lost.
    pub(super) fn healthy(&self) -> Result<()> {
        match self.inner.lost.reason() {
            Some(reason) => Err(Error::DeviceLost { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }

    /// Refuses to go on if the device is lost. An adopted device without a [`LossFlag`] is asked, since nothing else tells.
    pub(super) fn alive(&self) -> Result<()> {
        self.healthy()?;
        if self.inner.watched { Ok(()) } else { self.ask() }
    }

    /// Asks the device whether it is lost. wgpu drops the errors of lost devices, but their new buffers have no memory.
    pub(super) fn ask(&self) -> Result<()> {
        self.healthy()?;
        let descriptor = wgpu::BufferDescriptor {
            label: Some("device check"),
            size: wgpu::COPY_BUFFER_ALIGNMENT,
            usage: wgpu::BufferUsages::MAP_WRITE,
            mapped_at_creation: true,
        };
        let (is_mapped, objection) = self.scoped(|| {
            let buffer = self.device().create_buffer(&descriptor);
            buffer.slice(..).get_mapped_range_mut().is_ok()
        });
        // Without an objection, such as that memory is exhausted, only a lost device has no memory for four bytes.
        if !is_mapped && objection.is_none() {
            self.inner.lost.set("it accepts no work any more");
        }
        self.healthy()
    }
}
