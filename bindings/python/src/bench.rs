//! Benches of the library's kernels.

use std::sync::mpsc;

use fretwork::gpu::Halt;
use pyo3::prelude::*;

use crate::device::claim;
use crate::errors::{OrRaise as _, exception};
use crate::interrupt::interruptible;
use crate::options::Command;
use crate::{arguments, measure};

/// Runs benches with the arguments of `fretwork bench`, and returns all measurements as JSON. `show` is called with the device's line and
/// with the tables of each bench, as text.
#[pyfunction]
pub(crate) fn bench(py: Python<'_>, arguments: Vec<String>, show: Option<Py<PyAny>>) -> PyResult<String> {
    claim()?;
    let (Command::Bench(options), _) = arguments::parse("bench", &arguments)? else {
        return Err(exception("ConfigError", "the arguments are of another command than bench".to_owned()));
    };
    py.detach(|| {
        let halt = Halt::default();
        let (sender, texts) = mpsc::channel();
        let tell = || match (&show, texts.try_recv()) {
            (Some(show), Ok(text)) => {
                let text: String = text;
                Python::attach(|py| show.call1(py, (text,)).map(drop))
            }
            _ => Ok(()),
        };
        let (report, interrupt) = interruptible(&halt, tell, || {
            measure::run(&options, Some(halt.clone()), &mut |text| Ok(sender.send(text)?))
        });
        interrupt.map_or(Ok(()), Err)?;
        let report = report.or_raise()?;
        while let (Some(show), Ok(text)) = (&show, texts.try_recv()) {
            Python::attach(|py| show.call1(py, (text,)).map(drop))?;
        }
        Ok(report.to_json().to_string())
    })
}
