//! `fretwork report`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Folder of the run, as it was given to `train --out`.
    #[arg(value_name = "RUN", help_heading = "Input")]
    pub(crate) folder: PathBuf,
    /// File to write; by default report.html in the run folder.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
}
