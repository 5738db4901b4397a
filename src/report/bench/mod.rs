//! HTML page of a bench: a roofline, speed-ups over density, and all figures and times.

mod page;
mod plot;

use std::path::Path;

pub use page::render;

use crate::Result;
use crate::bench::Report;
use crate::files::replace;

/// Writes the page of a bench to `path`. A page that is there already is replaced atomically.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn write(report: &Report, path: &Path) -> Result<()> {
    replace(path, render(report).as_bytes())
}
