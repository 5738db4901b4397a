//! Submission of commands, and waits for them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use super::context::Gpu;
use super::device::DeviceId;
use crate::{Error, Result};

/// Work that a [`Gpu`] has submitted, to be [waited](Gpu::pace) for.
#[derive(Debug, Clone)]
pub struct Submission {
    device: DeviceId,
    index: wgpu::SubmissionIndex,
}

impl Submission {
    /// wgpu's index of the submission.
    pub fn index(&self) -> &wgpu::SubmissionIndex {
        &self.index
    }
}

impl Gpu {
    /// Submits command buffers of this device. Returns at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or [`Error::Rejected`] with the graphics layer's message.
    pub fn submit(&self, commands: impl IntoIterator<Item = wgpu::CommandBuffer>) -> Result<Submission> {
        let index = self.core().guarded("submit", || self.queue().submit(commands))?;
        self.core().healthy()?;
        Ok(Submission { device: self.id(), index })
    }

    /// Processes finished work, so that read-backs arrive. Never waits.
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

    /// Waits for everything submitted so far: a round trip, counted in [`Gpu::blocking_waits`].
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
            Ok(Ok(_)) => self.core().alive(),
            Ok(Err(error)) => {
                self.core().ask()?;
                Err(Error::Rejected { label: "wait".to_owned(), message: error.to_string() })
            }
            Err(panic) => {
                self.core().ask()?;
                resume_unwind(panic)
            }
        }
    }

    /// Number of times that the host has waited for the device to become idle.
    pub fn blocking_waits(&self) -> u64 {
        self.inner.blocking_waits.load(Ordering::Relaxed)
    }

    /// Encodes commands, returning the graphics layer's errors as an [`Error`].
    pub(super) fn encode(
        &self,
        label: &str,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::CommandBuffer> {
        self.core().guarded(label, || {
            let mut encoder =
                self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            record(&mut encoder);
            encoder.finish()
        })
    }
}
