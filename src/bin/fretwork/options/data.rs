//! `train`: data.

use clap::Args;
use fretwork::data::{Holdout, ImageOptions, ImageSize, Label, Missing, Source, TableOptions, Task};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct Data {
    /// digits | fashion-mnist | mnist | idx:DIR | csv:FILE | images:DIR | text:FILE
    #[arg(long, value_name = "SOURCE", default_value = "digits")]
    pub(crate) data: Source,
    /// Train on the first N rows.
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<usize>,
    /// Test on the first N rows.
    #[arg(long, value_name = "N")]
    pub(crate) test_rows: Option<usize>,
    /// Table: column of the label: its name, first, last, or its number, counted from 1. By default the one column that the header
    /// names label, labels, class, target, species or y (not beside an x), else the last.
    #[arg(long, value_name = "NAME|first|last|N")]
    pub(crate) label: Option<Label>,
    /// Table: refuse missing values (empty, NA, NaN, null, ?), drop their rows, or fill them in with the mean of their column:
    /// refuse | drop | mean
    #[arg(long, value_name = "TREATMENT", default_value = "refuse")]
    pub(crate) missing: Missing,
    /// Table: classification | regression; by default a classification, which a label of words or few whole numbers allows.
    #[arg(long, value_name = "KIND")]
    pub(crate) task: Option<Task>,
    /// Resize images to W pixels a line and H lines.
    #[arg(long, value_name = "WxH")]
    pub(crate) image_size: Option<ImageSize>,
    /// Convert images to shades of grey: one feature a pixel instead of three.
    #[arg(long)]
    pub(crate) gray: bool,
    /// Rows to choose by, apart from those to test on: a share of the training rows, such as 0.1, or all rows of another source of the
    /// same kind. Loss and accuracy on them are told for each epoch, and the best epoch's checkpoint is kept.
    #[arg(long, value_name = "SHARE|SOURCE", allow_negative_numbers = true)]
    pub(crate) validation: Option<Holdout>,
}

impl Data {
    /// How a table is read.
    pub(crate) fn table(&self) -> TableOptions {
        TableOptions { label: self.label.clone().unwrap_or_default(), missing: self.missing, task: self.task }
    }

    /// Treatment of images; `None` for none.
    pub(crate) fn images(&self) -> Option<ImageOptions> {
        let options = ImageOptions { size: self.image_size, gray: self.gray };
        (options != ImageOptions::default()).then_some(options)
    }
}
