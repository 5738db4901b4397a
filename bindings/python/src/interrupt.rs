//! Work that Ctrl-C stops.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use fretwork::gpu::Halt;
use pyo3::prelude::*;

/// Least time between two looks for Ctrl-C, and between two events of the kinds that come with every step or kernel.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);

/// Runs `work` on a thread of its own, and calls `meanwhile` and looks for Ctrl-C on this one: Python handles signals on its main thread
/// alone. At Ctrl-C, or an exception of `meanwhile`, `halt` is requested; the exception is returned once the work has ended. The calling
/// thread must be detached from the interpreter.
pub(crate) fn interruptible<T: Send>(
    halt: &Halt,
    mut meanwhile: impl FnMut() -> PyResult<()>,
    work: impl FnOnce() -> T + Send,
) -> (T, Option<PyErr>) {
    let mut interrupt = None;
    let caller = thread::current();
    let result = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let result = work();
            caller.unpark();
            result
        });
        while !worker.is_finished() {
            thread::park_timeout(INTERVAL);
            let looked = Python::attach(|py| py.check_signals()).and_then(|()| meanwhile());
            if let (Err(error), None) = (looked, &interrupt) {
                halt.request();
                interrupt = Some(error);
            }
        }
        worker.join().unwrap_or_else(|panic| resume_unwind(panic))
    });
    halt.withdraw();
    (result, interrupt)
}
