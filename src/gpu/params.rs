//! Parameter buffers that outlive their plans.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::buffer::Owned;
use super::context::Gpu;
use super::device::DeviceId;
use crate::Result;

/// Parameters of recordings, by their bytes, on one device: sizes, seeds and rates, which recur where a program records one
/// operation on new tensors at each step. [`Recorder::finish_with`](super::Recorder::finish_with) takes them from here, and makes
/// no buffer for parameters that it has seen.
#[derive(Debug)]
pub struct ParamCache {
    device: DeviceId,
    buffers: Mutex<HashMap<Box<[u8]>, Arc<Owned>>>,
}

impl ParamCache {
    /// Number of recordings whose parameters are kept. One more drops all of them, except those that plans hold.
    pub const CAPACITY: usize = 1024;

    /// An empty cache for `gpu` and its clones.
    pub fn new(gpu: &Gpu) -> Self {
        Self { device: gpu.id(), buffers: Mutex::default() }
    }

    /// Number of recordings whose parameters are kept.
    pub fn len(&self) -> usize {
        self.buffers.lock().expect("no holder of this lock panics").len()
    }

    /// Whether no parameters are kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A uniform buffer with these bytes.
    pub(super) fn get(&self, gpu: &Gpu, bytes: &[u8]) -> Result<Arc<Owned>> {
        gpu.expect_own("ParamCache", "gpu", self.device)?;
        let mut buffers = self.buffers.lock().expect("no holder of this lock panics");
        if let Some(buffer) = buffers.get(bytes) {
            return Ok(Arc::clone(buffer));
        }
        if buffers.len() >= Self::CAPACITY {
            buffers.clear();
        }
        let buffer = Arc::new(gpu.uniform("params", bytes)?);
        buffers.insert(bytes.into(), Arc::clone(&buffer));
        Ok(buffer)
    }
}
