//! A trained network, which `predict`, `evaluate`, `sample` and `export` read.

use std::path::PathBuf;

use clap::Args;
use fretwork::train::RunFolder;

#[derive(Debug, Args)]
pub(crate) struct Trained {
    /// Run folder, as `train --out` left it.
    #[arg(value_name = "RUN", help_heading = "Input", display_order = 0)]
    folder: PathBuf,
    /// Use the checkpoint of the epoch with the smallest validation loss, of a run with `train --validation`, in place of the last one.
    #[arg(long, help_heading = "Input", display_order = 2)]
    best: bool,
}

impl Trained {
    /// The folder, to read the checkpoint that is asked for.
    pub(crate) fn open(&self) -> fretwork::Result<RunFolder> {
        match self.best {
            true => RunFolder::of_best_epoch(&self.folder),
            false => RunFolder::with_checkpoint(&self.folder),
        }
    }
}
