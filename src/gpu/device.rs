//! A wgpu device whose errors and whose loss are returned as an [`Error`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::halt::Halt;
use super::loss::LossFlag;
use super::options::Options;
use crate::{Error, Result};

/// Identity of a device. wgpu's own ids start again with every instance, so they do not tell devices of two instances apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceId(u64);

impl DeviceId {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {}", self.0)
    }
}

/// Device, queue, and the state of the device: available or lost.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) raw: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) info: wgpu::AdapterInfo,
    pub(super) limits: wgpu::Limits,
    /// Whether shaders may use f16.
    pub(super) has_f16: bool,
    lost: LossFlag,
    /// Whether the owner of the device sets the flag when the device is lost.
    watched: bool,
    halt: Option<Halt>,
}

impl Device {
    /// A device with the limits and features that `options` leave of its own. Without a flag, the loss of the device is detected
    /// by asking it; see [`Device::alive`].
    pub(super) fn new(
        raw: wgpu::Device,
        queue: wgpu::Queue,
        info: wgpu::AdapterInfo,
        lost: Option<LossFlag>,
        options: &Options,
    ) -> Self {
        let (watched, lost) = (lost.is_some(), lost.unwrap_or_default());
        let limits = options.limit(raw.limits());
        let has_f16 = raw.features().contains(wgpu::Features::SHADER_F16) && !options.without_f16;
        let halt = options.halt.clone();
        Self { id: DeviceId::new(), limits, has_f16, raw, queue, info, lost, watched, halt }
    }

    /// Whether work can be stopped on request.
    pub(super) fn can_halt(&self) -> bool {
        self.halt.is_some()
    }

    /// [`Error::Halted`] if work is to stop.
    pub(super) fn expect_wanted(&self) -> Result<()> {
        if self.halt.as_ref().is_some_and(Halt::is_requested) { Err(Error::Halted) } else { Ok(()) }
    }

    /// [`Error::DeviceLost`] if the device is known to be lost.
    pub(super) fn healthy(&self) -> Result<()> {
        match self.lost.reason() {
            Some(reason) => Err(Error::DeviceLost { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }

    /// [`Error::DeviceLost`] if the device is lost. A device without a [`LossFlag`] of its owner is asked.
    pub(super) fn alive(&self) -> Result<()> {
        self.healthy()?;
        if self.watched { Ok(()) } else { self.ask() }
    }

    /// Asks the device whether it is lost: wgpu reports no error of a lost device, but its new buffers have no memory.
    pub(super) fn ask(&self) -> Result<()> {
        self.healthy()?;
        let descriptor = wgpu::BufferDescriptor {
            label: Some("device check"),
            size: wgpu::COPY_BUFFER_ALIGNMENT,
            usage: wgpu::BufferUsages::MAP_WRITE,
            mapped_at_creation: true,
        };
        let (is_mapped, objection) = self.scoped(|| {
            let buffer = self.raw.create_buffer(&descriptor);
            buffer.slice(..).get_mapped_range_mut().is_ok()
        });
        // Without an error such as exhausted memory, only a lost device has no memory for four bytes.
        if !is_mapped && objection.is_none() {
            self.lost.set("it accepts no work any more");
        }
        self.healthy()
    }

    /// Runs graphics calls inside error scopes and returns their first error as an [`Error`] labelled `label`.
    pub(super) fn guarded<R>(&self, label: &str, calls: impl FnOnce() -> R) -> Result<R> {
        self.healthy()?;
        let (result, objection) = self.scoped(calls);
        let Some(objection) = objection else { return Ok(result) };
        // Commands of a lost device are invalid; the loss is the cause to report.
        self.ask()?;
        Err(match objection {
            wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { label: label.to_owned(), bytes: 0 },
            other => Error::Rejected { label: label.to_owned(), message: other.to_string() },
        })
    }

    /// Runs graphics calls inside error scopes, and returns their result and their first error.
    fn scoped<R>(&self, calls: impl FnOnce() -> R) -> (R, Option<wgpu::Error>) {
        let memory = self.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.raw.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = calls();
        // Natively these futures are ready at once.
        let [validation, internal, memory] =
            [validation, internal, memory].map(|scope| pollster::block_on(scope.pop()));
        (result, memory.or(validation).or(internal))
    }
}
