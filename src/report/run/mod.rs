//! HTML page of a run: settings, curves over epochs and steps, confusion of classes, and each sparse layer's pattern over time.

mod chart;
mod confusion;
mod history;
mod kernels;
mod layers;
mod load;
mod memory;
mod networks;
mod page;
mod parts;
mod pattern;
mod settings;
mod steps;
mod tasks;

use std::path::{Path, PathBuf};

use crate::Result;
use crate::files::replace;
use crate::train::RunFolder;
use history::History;

/// The page of a run. Settings come from the checkpoint and curves from the log; either may be absent.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) naming the line of the log that is damaged,
/// [`Error::Checkpoint`](crate::Error::Checkpoint) if the checkpoint is, [`Error::Io`](crate::Error::Io).
pub fn render(folder: &RunFolder) -> Result<String> {
    let checkpoint = folder.checkpoint_path().is_file().then(|| folder.load()).transpose()?;
    let history = History::read(&folder.log_path())?;
    Ok(page::page(&folder.name(), checkpoint.as_ref(), &history))
}

/// Parses the bytes of a log and returns the numbers of its epochs and sparse layers.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) naming the line that is damaged.
pub(crate) fn read_log(path: &Path, bytes: &[u8]) -> Result<[usize; 2]> {
    let history = History::parse(path, bytes)?;
    Ok([history.epochs.len(), history.layers.len()])
}

/// Writes the page of a run to `out`, or to `report.html` in its folder, and returns the path. A page that is there already is
/// replaced atomically.
///
/// # Errors
/// Those of [`render`], and [`Error::Io`](crate::Error::Io) if the page cannot be written.
pub fn write(folder: &RunFolder, out: Option<&Path>) -> Result<PathBuf> {
    let path = out.map_or_else(|| folder.report_path(), Path::to_owned);
    replace(&path, render(folder)?.as_bytes())?;
    Ok(path)
}
