//! A trained network, which `predict`, `evaluate`, `sample` and `export` read.

use std::path::PathBuf;

use clap::Args;
use fretwork::train::{Checkpoint, RunFolder};

#[derive(Debug, Args)]
pub(crate) struct Trained {
    /// Run folder, as `train --out` left it.
    #[arg(value_name = "RUN", help_heading = "Input", display_order = 0)]
    folder: PathBuf,
    /// Use the checkpoint of the epoch with the smallest validation loss, of a run with `train --validation`, in place of the last one.
    #[arg(long, help_heading = "Input", display_order = 2)]
    best: bool,
    /// Use this network of many that were trained together, by its number in their ranking.
    #[arg(long, value_name = "N", help_heading = "Input", display_order = 3)]
    network: Option<usize>,
}

impl Trained {
    /// Whether one of many networks is asked for.
    pub(crate) fn names_network(&self) -> bool {
        self.network.is_some()
    }

    /// The folder, and the checkpoint that is asked for: of one network, where its number is given.
    pub(crate) fn load(&self) -> fretwork::Result<(RunFolder, Checkpoint)> {
        let folder = self.open()?;
        let checkpoint = folder.load()?;
        match self.network {
            Some(number) => Ok((folder.clone(), checkpoint.extract(&folder.checkpoint_path(), number)?)),
            None => Ok((folder, checkpoint)),
        }
    }

    /// The folder, to read the checkpoint that is asked for.
    fn open(&self) -> fretwork::Result<RunFolder> {
        match self.best {
            true => RunFolder::of_best_epoch(&self.folder),
            false => RunFolder::with_checkpoint(&self.folder),
        }
    }
}
