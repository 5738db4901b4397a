//! `train`: data.

use clap::Args;
use fretwork::data::Source;

#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct Data {
    /// digits | fashion-mnist | mnist | idx:DIR | csv:FILE | text:FILE
    #[arg(long, default_value = "digits")]
    pub(crate) data: Source,
    /// Train on the first N rows.
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<usize>,
    /// Test on the first N rows.
    #[arg(long, value_name = "N")]
    pub(crate) test_rows: Option<usize>,
}
