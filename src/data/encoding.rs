//! Encoding of a data set's files, which a checkpoint keeps so that it predicts from files without the training data.

use std::path::Path;

use super::csv::{self, TableEncoding, Task};
use super::idx;
use super::table::{Features, Table};
use crate::Result;

/// How the rows of files become features and targets. A text needs none: its vocabulary stands in the model's configuration.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Encoding {
    /// A table.
    Table(TableEncoding),
    /// Images in an IDX file.
    Images {
        /// Pixels of an image.
        width: usize,
        /// Features are bytes times this factor.
        factor: f32,
        /// Names of the classes, in the order of their numbers; empty where each is called by its number.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        classes: Vec<String>,
    },
}

impl Encoding {
    /// Encoding of images, of the classes of these names.
    pub(super) fn of_images(table: &Table, classes: Vec<String>) -> Self {
        let factor = match table.features() {
            Features::Bytes(_, factor) => *factor,
            Features::Floats(_) => 1.0,
        };
        Self::Images { width: table.width(), factor, classes }
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        match self {
            Self::Table(table) => table.width(),
            Self::Images { width, .. } => *width,
        }
    }

    /// Names of the classes, in the order of their numbers; none for a regression, and where each is called by its number.
    pub fn classes(&self) -> &[String] {
        match self {
            Self::Table(table) => table.classes(),
            Self::Images { classes, .. } => classes,
        }
    }

    /// Whether classes or values are predicted.
    pub fn task(&self) -> Task {
        match self {
            Self::Table(table) => table.target.task(),
            Self::Images { .. } => Task::Classification,
        }
    }

    /// The encoding of a table.
    pub fn table(&self) -> Option<&TableEncoding> {
        match self {
            Self::Table(table) => Some(table),
            Self::Images { .. } => None,
        }
    }

    /// Refuses an encoding, read from a checkpoint, that encodes nothing: it says what is wrong.
    pub(crate) fn validate(&self) -> Result<(), String> {
        match self {
            Self::Table(table) => table.validate(),
            Self::Images { width, factor, .. } if *width == 0 || !factor.is_finite() => {
                Err("the encoding of images is not sound".to_owned())
            }
            Self::Images { .. } => Ok(()),
        }
    }

    /// Features of the rows of a file, in the file's order: a table, in which the label's column may be there or not, or IDX images.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) naming what the file has and the encoding has not, with its line and column, or a file of
    /// another kind or width.
    pub fn features(&self, path: &Path) -> Result<Features> {
        match self {
            Self::Table(table) => csv::unlabelled(path, table),
            Self::Images { width, factor, .. } => idx::images(path, *width, *factor),
        }
    }

    /// Features of rows of numbers in a program's memory: a number for each column of a table, or for each pixel of an image.
    ///
    /// # Errors
    /// As [`TableEncoding::of_numbers`]; [`Error::Argument`](crate::Error::Argument) for images of another size.
    pub fn of_numbers(&self, numbers: &[f64]) -> Result<Features> {
        match self {
            Self::Table(table) => table.of_numbers(numbers),
            Self::Images { width, factor, .. }
                if !numbers.is_empty() && numbers.len().is_multiple_of(*width) =>
            {
                Ok(Features::Floats(numbers.iter().map(|&pixel| pixel as f32 * factor).collect()))
            }
            Self::Images { width, .. } => {
                let (wanted, found) =
                    (format!("rows of {width} pixels"), format!("{} numbers", numbers.len()));
                Err(crate::Error::argument("encoding", "rows", wanted, found))
            }
        }
    }

    /// Rows of a table's file with their labels or values, in the file's order.
    ///
    /// # Errors
    /// As [`Encoding::features`], and [`Error::Data`](crate::Error::Data) for a file without labels, as images are.
    pub fn labelled(&self, path: &Path) -> Result<Table> {
        match self {
            Self::Table(table) => csv::labelled(path, table),
            Self::Images { .. } => Err(crate::Error::Data {
                path: path.to_owned(),
                reason: "has no labels; give idx:DIR, a folder with the files t10k-images and t10k-labels"
                    .to_owned(),
            }),
        }
    }
}
