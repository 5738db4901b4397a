//! `fretwork doctor`.

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Checks")]
pub(crate) struct Doctor {
    /// Adapter to check: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, help_heading = "Device", value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
    /// Check only the kernels of runs with default options; the default on software drivers, which compile for minutes.
    #[arg(long, conflicts_with = "all")]
    pub(crate) quick: bool,
    /// Check every kernel; the default on GPUs.
    #[arg(long)]
    pub(crate) all: bool,
    /// Check only kernels whose name contains TEXT.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// List the adapters only; fails if there is none.
    #[arg(long, help_heading = "Device", conflicts_with_all = ["adapter", "only"])]
    pub(crate) adapters: bool,
    /// Print one JSON object a line.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}
