//! The flag by which another thread stops the work of a device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Request to stop the work of a device, from any thread: a Ctrl-C. From then on a [`Gpu`](super::Gpu) that was
/// [opened with it](super::Options::halt) compiles and runs nothing, and returns [`Error::Halted`](crate::Error::Halted). Work in
/// flight is finished. Clones share one state.
///
/// A driver may compile for minutes. A device with a `Halt` therefore compiles the kernels of a plan one by one before it first runs
/// the plan, so that a request waits for one kernel at most.
#[derive(Debug, Clone, Default)]
pub struct Halt(Arc<AtomicBool>);

impl Halt {
    /// Stops the work.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Lets later work run again.
    pub fn withdraw(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the work is to stop.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
