//! Trained networks as files that other programs read.

use std::path::PathBuf;

use fretwork::export::{Format, to_bytes, write};
use fretwork::train::Checkpoint;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arguments;
use crate::errors::{OrRaise as _, exception};
use crate::options::Command;

/// Writes a run's network with the arguments of `fretwork export`, and returns the file's path.
#[pyfunction]
pub(crate) fn export(py: Python<'_>, arguments: Vec<String>) -> PyResult<PathBuf> {
    let (Command::Export(options), _) = arguments::parse("export", &arguments)? else {
        return Err(exception("ConfigError", "the arguments are of another command than export".to_owned()));
    };
    py.detach(|| {
        let folder = options.input.open().or_raise()?;
        write(&folder, options.to, options.out.as_deref()).or_raise()
    })
}

/// The bytes of a checkpoint as those of an export of block-sparse weights.
#[pyfunction]
pub(crate) fn weights_of_checkpoint<'py>(
    py: Python<'py>,
    path: PathBuf,
    bytes: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let weights = py.detach(|| {
        let checkpoint = Checkpoint::from_bytes(&path, bytes)?;
        to_bytes(&checkpoint, &path, Format::SafetensorsBsr)
    });
    Ok(PyBytes::new(py, &weights.or_raise()?))
}
