//! Trained networks as files that other programs read.

use std::path::PathBuf;

use fretwork::export::{Format, to_bytes};
use fretwork::train::{Checkpoint, write_whole};
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
    let written: fretwork::Result<PathBuf> = py.detach(|| {
        let (folder, checkpoint) = options.input.load()?;
        let path = folder.checkpoint_path();
        let out = options.out.clone().unwrap_or_else(|| path.with_file_name(options.to.file_name()));
        write_whole(&out, &to_bytes(&checkpoint, &path, options.to)?)?;
        Ok(out)
    });
    written.or_raise()
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
