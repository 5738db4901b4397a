//! Work for the device, waits for it, and what it objects to.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use super::context::{DeviceId, Gpu};
use super::recorder::Plan;
use crate::{Error, Result};

/// Work that a [`Gpu`] has submitted, to be [waited](Gpu::pace) for.
#[derive(Debug, Clone)]
pub struct Submission {
    device: DeviceId,
    index: wgpu::SubmissionIndex,
}

impl Submission {
    /// wgpu's name for it.
    pub fn index(&self) -> &wgpu::SubmissionIndex {
        &self.index
    }
}

impl Gpu {
    /// Encodes a plan and submits it. Returns at once.
    ///
    /// # Errors
    /// [`Error::Argument`] if the plan was recorded for another device, [`Error::DeviceLost`], or [`Error::Rejected`] with
    /// what the graphics layer has to object.
    pub fn run(&self, plan: &Plan) -> Result<Submission> {
        self.expect_own("Gpu::run", "plan", plan.device())?;
        self.submit([self.encode("plan", |encoder| plan.encode(encoder))?])
    }

    /// Submits command buffers of this device. Returns at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or [`Error::Rejected`] with what the graphics layer has to object.
    pub fn submit(&self, commands: impl IntoIterator<Item = wgpu::CommandBuffer>) -> Result<Submission> {
        let index = self.guarded("submit", || self.queue().submit(commands))?;
        self.healthy()?;
        Ok(Submission { device: self.id(), index })
    }

    /// Lets finished work be noticed: read-backs arrive. Never waits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn poll(&self) -> Result<()> {
        self.poll_device(wgpu::PollType::Poll)
    }

    /// Holds the host back until a submission is done, while later ones keep the device busy. This bounds the
    /// work in flight; it is no round trip, because the device never idles for it.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is a submission of another device, [`Error::DeviceLost`].
    pub fn pace(&self, submission: Submission) -> Result<()> {
        self.expect_own("Gpu::pace", "submission", submission.device)?;
        self.wait_on(Some(submission.index))
    }

    /// Waits until the device has done everything submitted so far: a round trip, counted as one.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn finish(&self) -> Result<()> {
        self.inner.blocking_waits.fetch_add(1, Ordering::Relaxed);
        self.wait_on(None)
    }

    pub(super) fn wait_for(&self, submission: Submission) -> Result<()> {
        self.inner.blocking_waits.fetch_add(1, Ordering::Relaxed);
        self.wait_on(Some(submission.index))
    }

    fn wait_on(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        self.poll_device(wgpu::PollType::Wait { submission_index, timeout: None })
    }

    fn poll_device(&self, how: wgpu::PollType) -> Result<()> {
        // wgpu panics where a driver reports a loss to a wait.
        match catch_unwind(AssertUnwindSafe(|| self.device().poll(how))) {
            Ok(Ok(_)) => self.alive(),
            Ok(Err(error)) => {
                self.ask()?;
                Err(Error::Rejected { label: "wait".to_owned(), message: error.to_string() })
            }
            Err(panic) => {
                self.ask()?;
                resume_unwind(panic)
            }
        }
    }

    /// How often the host has waited for the device to run dry.
    pub fn blocking_waits(&self) -> u64 {
        self.inner.blocking_waits.load(Ordering::Relaxed)
    }

    /// Encodes commands where what the graphics layer has to object becomes an [`Error`].
    pub(super) fn encode(
        &self,
        label: &str,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::CommandBuffer> {
        self.guarded(label, || {
            let mut encoder =
                self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            record(&mut encoder);
            encoder.finish()
        })
    }

    /// Runs graphics calls inside error scopes, so that what they object to becomes an [`Error`].
    pub(super) fn guarded<R>(&self, label: &str, calls: impl FnOnce() -> R) -> Result<R> {
        self.healthy()?;
        let (result, objection) = self.scoped(calls);
        let Some(objection) = objection else { return Ok(result) };
        // Commands of a lost device are invalid; the caller should hear of the loss, not of that.
        self.ask()?;
        Err(match objection {
            wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { label: label.to_owned(), bytes: 0 },
            other => Error::Rejected { label: label.to_owned(), message: other.to_string() },
        })
    }

    /// Runs graphics calls inside error scopes, and says what they object to.
    pub(super) fn scoped<R>(&self, calls: impl FnOnce() -> R) -> (R, Option<wgpu::Error>) {
        let device = self.device();
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = calls();
        // Natively these futures are ready at once.
        let [validation, internal, memory] =
            [validation, internal, memory].map(|scope| pollster::block_on(scope.pop()));
        (result, memory.or(validation).or(internal))
    }
}
