//! Errors of the library as exceptions of `fretwork.errors`, with the same texts.

use fretwork::Error;
use pyo3::prelude::*;

/// The exception of this name in `fretwork.errors`.
pub(crate) fn exception(name: &str, text: String) -> PyErr {
    let made =
        Python::attach(|py| py.import("fretwork.errors")?.getattr(name)?.call1((text,)).map(Bound::unbind));
    made.map_or_else(|error| error, |value| Python::attach(|py| PyErr::from_value(value.into_bound(py))))
}

/// Name of the exception of an error.
fn name(error: &Error) -> &'static str {
    match error {
        Error::Config { .. } => "ConfigError",
        Error::Argument { .. } => "ArgumentError",
        Error::Topology { .. } => "TopologyError",
        Error::Data { .. } => "DataError",
        Error::Checkpoint { .. } => "CheckpointError",
        Error::Io { .. } => "FileError",
        Error::OutOfMemory { .. } => "OutOfMemoryError",
        Error::NotFinite { .. } => "NotFiniteError",
        _ => "DeviceError",
    }
}

/// Results whose error becomes an exception.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception of the error.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for fretwork::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|error| exception(name(&error), error.to_string()))
    }
}

/// Errors of the program's files: the library's, or refusals of options.
impl<T> OrRaise<T> for anyhow::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|error| {
            let name = error.downcast_ref::<Error>().map_or("ConfigError", name);
            exception(name, format!("{error:#}"))
        })
    }
}
