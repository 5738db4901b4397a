//! Progress of a run: events for a Python callback, and Ctrl-C.

use std::time::Instant;

use fretwork::train::{Event, Flow};
use pyo3::prelude::*;

use crate::events::as_json;
use crate::interrupt::INTERVAL;

/// Passes events to a callback, as JSON, and stops the run at Ctrl-C, at an exception of the callback, or after `stop_after` steps.
pub(crate) struct Watcher {
    callback: Option<Py<PyAny>>,
    stop_after: Option<u64>,
    steps: u64,
    looked: Instant,
    told: Instant,
    failure: Option<PyErr>,
}

impl Watcher {
    /// A run that was interrupted by `failure` before its first step stops after it.
    pub(crate) fn new(callback: Option<Py<PyAny>>, stop_after: Option<u64>, failure: Option<PyErr>) -> Self {
        let now = Instant::now();
        Self { callback, stop_after, steps: 0, looked: now, told: now, failure }
    }

    /// Passes an event on, and decides whether the run continues. The calling thread must be detached from the interpreter.
    pub(crate) fn see(&mut self, event: &Event) -> Flow {
        let now = Instant::now();
        let is_frequent = match event {
            Event::Progress { step, steps, .. } => {
                self.steps += 1;
                step < steps
            }
            Event::Compiling { .. } | Event::Tuning { .. } => true,
            _ => false,
        };
        if self.failure.is_none() && now - self.looked >= INTERVAL {
            self.looked = now;
            self.failure = Python::attach(|py| py.check_signals()).err();
        }
        if let (None, Some(callback), true) =
            (&self.failure, &self.callback, !is_frequent || now - self.told >= INTERVAL)
        {
            self.told = now;
            let event = as_json(event).to_string();
            self.failure = Python::attach(|py| callback.call1(py, (event,)).map(drop)).err();
        }
        let enough = self.stop_after.is_some_and(|most| self.steps >= most);
        if enough || self.failure.is_some() { Flow::Stop } else { Flow::Continue }
    }

    /// The exception of Ctrl-C or of the callback, once the run has stopped.
    pub(crate) fn finish(self) -> PyResult<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

/// Runs `work`; the program shows a spinner meanwhile.
pub(crate) fn while_waiting<T>(_json: bool, _doing: &'static str, work: impl FnOnce() -> T) -> T {
    work()
}
