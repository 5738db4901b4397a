//! `fretwork extract`.

use std::path::PathBuf;

use clap::Args;

use super::trained::Trained;

#[derive(Debug, Args)]
pub(crate) struct Extract {
    #[command(flatten)]
    pub(crate) input: Trained,
    /// Folder of the new run.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: PathBuf,
}
