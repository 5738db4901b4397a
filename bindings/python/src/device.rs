//! The device that arrays and layers share, and the process that may use it.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use fretwork::gpu::{Gpu, Halt, Options};
use pyo3::PyResult;

use crate::errors::{OrRaise as _, exception};

/// Process that opened a device, or is about to; 0 before that.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Request to stop the work of the shared device.
pub(crate) static HALT: LazyLock<Halt> = LazyLock::new(Halt::default);

/// Device of arrays, layers and estimators, opened at its first use.
static SHARED: Mutex<Option<Gpu>> = Mutex::new(None);

/// Claims devices for this process, and refuses a forked child of a process that has opened one: the driver's threads are not in it, and
/// waiting for them would never end.
pub(crate) fn claim() -> PyResult<()> {
    let here = process::id();
    match OWNER.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(owner) if owner == here => Ok(()),
        Err(owner) => Err(exception(
            "ForkError",
            format!(
                "process {here} was forked from process {owner}, which had opened a device, and a device does not survive a fork; start \
                 processes by multiprocessing.get_context(\"spawn\"), or use fretwork in one of the two alone"
            ),
        )),
    }
}

/// The shared device. It is the adapter that the environment variable `FRETWORK_ADAPTER` names, or the best one.
pub(crate) fn shared() -> PyResult<Gpu> {
    claim()?;
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(gpu) = &*shared {
        return Ok(gpu.clone());
    }
    let gpu = Gpu::request(Options { halt: Some(HALT.clone()), ..Options::default() }).or_raise()?;
    Ok(shared.insert(gpu).clone())
}

/// A value that holds device objects. A forked child drops none of them, since freeing them waits for threads that it has not.
#[derive(Debug)]
pub(crate) struct Owned<T> {
    value: Option<T>,
    owner: u32,
}

impl<T> Owned<T> {
    /// The value, of this process.
    pub(crate) fn new(value: T) -> Self {
        Self { value: Some(value), owner: process::id() }
    }

    /// The value, in the process that made it.
    pub(crate) fn get(&mut self) -> PyResult<&mut T> {
        claim()?;
        let gone = || exception("ForkError", "the object is of another process".to_owned());
        self.value.as_mut().ok_or_else(gone)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.owner != process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
