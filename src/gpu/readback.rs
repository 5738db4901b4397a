//! Asynchronous read-back of tensors.

use std::marker::PhantomData;
use std::sync::mpsc;

use super::context::Gpu;
use super::dtype::Element;
use super::submit::Submission;
use crate::{Error, Result};

/// A copy of a tensor to the host, in flight.
#[derive(Debug)]
pub struct Pending<T> {
    gpu: Gpu,
    staging: wgpu::Buffer,
    arrival: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
    /// The result of the mapping, once it has arrived.
    arrived: Option<Result<(), wgpu::BufferAsyncError>>,
    submission: Submission,
    elements: usize,
    element: PhantomData<T>,
}

impl<T: Element> Pending<T> {
    pub(super) fn new(
        gpu: &Gpu,
        staging: wgpu::Buffer,
        submission: Submission,
        elements: usize,
    ) -> Result<Self> {
        let (sender, arrival) = mpsc::channel();
        gpu.core().guarded("read-back", || {
            staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
                // The receiver is gone if the read-back was dropped.
                let _ = sender.send(result);
            });
        })?;
        let element = PhantomData;
        Ok(Self { gpu: gpu.clone(), staging, arrival, arrived: None, submission, elements, element })
    }

    /// Whether the values have arrived; never waits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if they never will.
    pub fn is_ready(&mut self) -> Result<bool> {
        if self.arrived.is_none() {
            self.gpu.poll()?;
            match self.arrival.try_recv() {
                Ok(result) => self.arrived = Some(result),
                Err(mpsc::TryRecvError::Empty) => return Ok(false),
                Err(mpsc::TryRecvError::Disconnected) => return Err(self.dropped()),
            }
        }
        Ok(true)
    }

    /// The values. Waits for them unless they [are ready](Pending::is_ready); such a wait is a round trip, and counts in
    /// [`Gpu::blocking_waits`].
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if they never arrive.
    pub fn wait(mut self) -> Result<Vec<T>> {
        let result = match self.arrived.take() {
            Some(result) => result,
            None => {
                self.gpu.wait_for(self.submission.clone())?;
                self.arrival.recv().map_err(|_| self.dropped())?
            }
        };
        result.map_err(|_| self.dropped())?;
        let bytes = self.elements * size_of::<T>();
        let mut values = vec![T::zeroed(); self.elements];
        let view = self
            .staging
            .slice(..)
            .get_mapped_range()
            .map_err(|error| Error::Rejected { label: "read-back".to_owned(), message: error.to_string() })?;
        bytemuck::cast_slice_mut::<T, u8>(&mut values).copy_from_slice(&view[..bytes]);
        Ok(values)
    }

    /// The error of a read-back that never arrives. In all known cases the device is lost.
    fn dropped(&self) -> Error {
        let reason = || Error::DeviceLost { reason: "a read-back was dropped".to_owned() };
        self.gpu.core().ask().err().unwrap_or_else(reason)
    }
}
