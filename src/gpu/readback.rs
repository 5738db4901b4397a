//! Results on their way back to the host.

use std::marker::PhantomData;
use std::sync::mpsc;

use super::Gpu;
use super::tensor::Element;
use crate::{Error, Result};

/// A copy of a tensor that will arrive.
#[derive(Debug)]
pub struct Pending<T> {
    gpu: Gpu,
    staging: wgpu::Buffer,
    arrived: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
    submission: wgpu::SubmissionIndex,
    elements: usize,
    element: PhantomData<T>,
}

impl<T: Element> Pending<T> {
    pub(super) fn new(
        gpu: &Gpu,
        staging: wgpu::Buffer,
        submission: wgpu::SubmissionIndex,
        elements: usize,
    ) -> Self {
        let (sender, arrived) = mpsc::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver is gone when nobody wants the result any more.
            let _ = sender.send(result);
        });
        Self { gpu: gpu.clone(), staging, arrived, submission, elements, element: PhantomData }
    }

    /// The values if they have arrived; never waits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if they never will.
    pub fn try_take(&mut self) -> Result<Option<Vec<T>>> {
        self.gpu.poll()?;
        match self.arrived.try_recv() {
            Ok(result) => self.take(result).map(Some),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Err(self.gpu.lost("a read-back was dropped")),
        }
    }

    /// Waits for the values. This is a round trip, and is counted as one.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if they never arrive.
    pub fn wait(mut self) -> Result<Vec<T>> {
        self.gpu.wait_for(self.submission.clone())?;
        let result = self.arrived.recv().map_err(|_| self.gpu.lost("a read-back was dropped"))?;
        self.take(result)
    }

    fn take(&mut self, result: Result<(), wgpu::BufferAsyncError>) -> Result<Vec<T>> {
        result.map_err(|error| self.gpu.lost(&error.to_string()))?;
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
}
