//! A run folder as one page: HTML that needs no network, no script and no other file.

mod chart;
mod hex;
mod history;
mod kernels;
mod load;
mod page;
mod pattern;
mod record;
mod settings;

use std::path::{Path, PathBuf};

pub use hex::{from_hex, to_hex};
pub(super) use record::number_or_nan;
pub use record::{EpochRecord, KernelRecord, KernelsRecord, LayerRecord, LoadRecord, LogRecord, StartRecord};

use super::RunFolder;
use crate::Result;
use crate::files::replace;
use history::History;

/// The page of a run: settings, curves, and how each sparse layer's pattern changed. A folder without a checkpoint has no
/// settings to show; one without a log has no curves.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) naming the line of the log that is damaged,
/// [`Error::Checkpoint`](crate::Error::Checkpoint) if the checkpoint is, [`Error::Io`](crate::Error::Io).
pub fn render(folder: &RunFolder) -> Result<String> {
    let checkpoint = folder.checkpoint_path().is_file().then(|| folder.load()).transpose()?;
    let history = History::read(&folder.log_path())?;
    Ok(page::page(&folder.name(), checkpoint.as_ref(), &history))
}

/// Reads the bytes of a log and says how many epochs and layers there are.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) naming the line that is damaged.
pub(crate) fn read_log(path: &Path, bytes: &[u8]) -> Result<[usize; 2]> {
    let history = History::parse(path, bytes)?;
    Ok([history.epochs.len(), history.layers.len()])
}

/// Writes the page to `out`, or to `report.html` in the folder, and says where it is. It is written beside an older one and
/// renamed, so that no half of a page is ever there.
///
/// # Errors
/// As [`render`], and [`Error::Io`](crate::Error::Io) if it cannot be written.
pub fn write(folder: &RunFolder, out: Option<&Path>) -> Result<PathBuf> {
    let path = out.map_or_else(|| folder.report_path(), Path::to_owned);
    replace(&path, render(folder)?.as_bytes())?;
    Ok(path)
}
