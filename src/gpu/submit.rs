//! Work for the device, waits for it, and what it objects to.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::context::Gpu;
use super::recorder::Plan;
use crate::{Error, Result};

impl Gpu {
    /// Encodes a plan and submits it. Returns at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or what the graphics layer has to object.
    pub fn run(&self, plan: &Plan) -> Result<wgpu::SubmissionIndex> {
        let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
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
        let submission = self.guarded("submit", || self.queue().submit(commands))?;
        self.healthy()?;
        Ok(submission)
    }

    /// Lets finished work be noticed: read-backs arrive. Never waits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll(&self) -> Result<()> {
        self.device().poll(wgpu::PollType::Poll).map_err(|error| self.lost(&error.to_string()))?;
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
        self.device().poll(wait).map_err(|error| self.lost(&error.to_string()))?;
        self.healthy()
    }

    /// How often the host has waited for the device to run dry.
    pub fn blocking_waits(&self) -> u64 {
        self.inner.blocking_waits.load(Ordering::Relaxed)
    }

    /// Runs graphics calls inside error scopes, so that what they object to becomes an [`Error`].
    pub(super) fn guarded<R>(&self, label: &str, calls: impl FnOnce() -> R) -> Result<R> {
        self.healthy()?;
        let device = self.device();
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
pub(super) fn note_loss(lost: &Mutex<Option<String>>, reason: String) {
    lost.lock().expect("no holder of this lock panics").get_or_insert(reason);
}
