//! Trained networks as files that other programs read, a file per format. What is exported is the network's function and nothing of its
//! training: no optimizer state, no state of a method, no padding, no inactive blocks.

mod format;
#[cfg(feature = "onnx")]
mod onnx;
mod safetensors;
mod torch;
mod trained;

use std::path::{Path, PathBuf};

use crate::train::{Checkpoint, RunFolder};
use crate::{Result, files};

pub use format::Format;
use trained::Trained;

/// The file's bytes for the network of a checkpoint that was read from `path`.
///
/// # Errors
/// [`Error::Checkpoint`](crate::Error::Checkpoint) for a checkpoint that lacks a parameter;
/// [`Error::Config`](crate::Error::Config) for a network that the format has no words for, with the node that is at fault, and for
/// [many networks](Checkpoint::single) of which one has to be chosen.
pub fn to_bytes(checkpoint: &Checkpoint, path: &Path, format: Format) -> Result<Vec<u8>> {
    let trained = Trained::of(&*checkpoint.single(path)?, path)?;
    match format {
        #[cfg(feature = "onnx")]
        Format::Onnx => onnx::model(&trained),
        Format::SafetensorsDense => safetensors::dense(&trained, path),
        Format::SafetensorsBsr => safetensors::bsr(&trained, path),
        Format::Torch => torch::state_dict(&trained, path),
    }
}

/// Exports the network of a run to a file, by default [`Format::file_name`] in the run's folder, and returns its path. The file is
/// written beside an older one and renamed.
///
/// # Errors
/// As [`to_bytes`], and [`Error::Io`](crate::Error::Io).
pub fn write(folder: &RunFolder, format: Format, out: Option<&Path>) -> Result<PathBuf> {
    let checkpoint = folder.load()?;
    let path = folder.checkpoint_path();
    let bytes = to_bytes(&checkpoint, &path, format)?;
    let out = out.map_or_else(|| path.with_file_name(format.file_name()), Path::to_owned);
    files::replace(&out, &bytes)?;
    Ok(out)
}
