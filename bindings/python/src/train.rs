//! Runs as the program's `train` makes them.

use fretwork::gpu::Halt;
use fretwork::train::Event;
use pyo3::prelude::*;

use crate::begin::Begun;
use crate::device::claim;
use crate::errors::OrRaise as _;
use crate::interrupt::interruptible;
use crate::progress::Watcher;
use crate::{arguments, events};

/// Trains with the arguments of `fretwork train`, and returns the summary as JSON. `watch` is called with each event, as JSON. At Ctrl-C
/// the run stops after the current step, leaves its checkpoint, and `KeyboardInterrupt` is raised; a run that has not begun leaves nothing.
#[pyfunction]
#[pyo3(signature = (arguments, watch))]
pub(crate) fn train(py: Python<'_>, arguments: Vec<String>, watch: Option<Py<PyAny>>) -> PyResult<String> {
    claim()?;
    let (options, given) = arguments::parse_train(&arguments)?;
    py.detach(|| {
        let halt = Halt::default();
        let begin = || Begun::new(&options, &given, Some(halt.clone()));
        let (begun, interrupt) = interruptible(&halt, || Ok(()), begin);
        let (begun, interrupt) = match (begun, interrupt) {
            (Err(_), Some(interrupt)) => return Err(interrupt),
            // With an interrupt the folder is there already, so the run goes on to its first checkpoint.
            (begun, interrupt) => (begun.or_raise()?, interrupt),
        };
        let Begun { mut trainer, folder, gpu, tuner, notices } = begun;
        let task = trainer.settings().task();
        let mut watcher = Watcher::new(watch, options.run.stop_after, interrupt);
        for notice in notices {
            watcher.see(&Event::Notice(notice));
        }
        if let Some(tuner) = tuner {
            trainer.tune(tuner, &mut |event| watcher.see(event)).or_raise()?;
        }
        let summary = trainer.run(folder.as_ref(), &mut |event| watcher.see(event)).or_raise()?;
        watcher.finish()?;
        Ok(events::done(&summary, task, &gpu).or_raise()?.to_string())
    })
}
