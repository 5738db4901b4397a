//! `fretwork predict` and `fretwork evaluate`.

use std::path::PathBuf;

use clap::Args;
use fretwork::data::Source;

use super::trained::Trained;

#[derive(Debug, Args)]
pub(crate) struct Predict {
    #[command(flatten)]
    pub(crate) input: Trained,
    /// Rows to predict, of the kind the run was trained with: a table, in which the label's column may be there or not, an IDX file of
    /// images, an image or a folder of them, or a text, whose bytes are predicted from those before them. A kind as of `train --data`
    /// may stand before it: csv:FILE.
    #[arg(value_name = "FILE|DIR", help_heading = "Input", display_order = 1)]
    pub(crate) file: PathBuf,
    /// Write the probability of each class instead of the likeliest class.
    #[arg(long, help_heading = "Output")]
    pub(crate) proba: bool,
    /// CSV file to write; by default the standard output.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Adapter to use: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, value_name = "INDEX|NAME", help_heading = "Device")]
    pub(crate) adapter: Option<String>,
}

impl Predict {
    /// The path, without a kind of data before it.
    pub(crate) fn path(&self) -> PathBuf {
        match self.file.to_str().map(str::parse) {
            Some(Ok(Source::Csv(path) | Source::Images(path) | Source::Text(path))) => path,
            _ => self.file.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    #[command(flatten)]
    pub(crate) input: Trained,
    /// Labelled rows: a file of the kind the run was trained with, a folder with a folder of images for each class, or a source as of
    /// `train --data`, of which the test rows are used if it has some; by default the run's own test rows.
    #[arg(value_name = "DATA", help_heading = "Input", display_order = 1)]
    pub(crate) data: Option<String>,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Adapter to use: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, value_name = "INDEX|NAME", help_heading = "Device")]
    pub(crate) adapter: Option<String>,
}
