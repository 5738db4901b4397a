//! Encoding of a data set's files, which a checkpoint keeps so that it predicts from files without the training data.

use std::path::{Path, PathBuf};

use super::csv::{self, TableEncoding, Task};
use super::idx;
use super::image_rows;
use super::images::Pixels;
use super::table::{Features, Table};
use crate::Result;

/// How the rows of files become features and targets. A text needs none: its vocabulary stands in the model's configuration.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Encoding {
    /// A table.
    Table(TableEncoding),
    /// Images in an IDX file, or in image files.
    Images {
        /// Pixels of an image.
        width: usize,
        /// Features are bytes times this factor.
        factor: f32,
        /// Names of the classes, in the order of their numbers; empty where each is called by its number.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        classes: Vec<String>,
        /// Size and colours of images out of image files; `None` for IDX.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pixels: Option<Pixels>,
    },
}

impl Encoding {
    /// Encoding of images, of the classes of these names, and with these pixels where they are out of image files.
    pub(super) fn of_images(table: &Table, classes: Vec<String>, pixels: Option<Pixels>) -> Self {
        let factor = match table.features() {
            Features::Bytes(_, factor) => *factor,
            Features::Floats(_) => 1.0,
        };
        Self::Images { width: table.width(), factor, classes, pixels }
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

    /// Whether the rows were image files.
    pub fn is_of_image_files(&self) -> bool {
        matches!(self, Self::Images { pixels: Some(_), .. })
    }

    /// Refuses an encoding, read from a checkpoint, that encodes nothing: it says what is wrong.
    pub(crate) fn validate(&self) -> Result<(), String> {
        match self {
            Self::Table(table) => table.validate(),
            Self::Images { width, factor, pixels, .. }
                if *width == 0
                    || !factor.is_finite()
                    || pixels.is_some_and(|pixels| pixels.width() != Some(*width)) =>
            {
                Err("the encoding of images is not sound".to_owned())
            }
            Self::Images { .. } => Ok(()),
        }
    }

    /// Features of the rows of a file, in the file's order: a table, in which the label's column may be there or not, IDX images, or,
    /// of a network that was trained on image files, such a file or a folder of them.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) naming what the file has and the encoding has not, with its line and column, or a file of
    /// another kind or width.
    pub fn features(&self, path: &Path) -> Result<Features> {
        Ok(self.rows(path)?.1)
    }

    /// Paths and features of the rows of a file, as [`Encoding::features`] reads it: a path for each image file; none of other kinds.
    ///
    /// # Errors
    /// As [`Encoding::features`].
    pub fn rows(&self, path: &Path) -> Result<(Vec<PathBuf>, Features)> {
        match self {
            Self::Table(table) => Ok((Vec::new(), csv::unlabelled(path, table)?)),
            Self::Images { pixels: Some(pixels), .. } => image_rows::unlabelled(path, *pixels),
            Self::Images { width, factor, .. } => Ok((Vec::new(), idx::images(path, *width, *factor)?)),
        }
    }

    /// Features of rows of numbers in a program's memory: a number for each column of a table, or for each pixel of an image.
    ///
    /// # Errors
    /// Those of [`TableEncoding::of_numbers`]; [`Error::Argument`](crate::Error::Argument) for images of another size.
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

    /// Rows with their labels or values: those of a table's file, in the file's order, or the images of a folder of classes, or of the
    /// folder `test` where it has folders `train` and `test`.
    ///
    /// # Errors
    /// As [`Encoding::features`], and [`Error::Data`](crate::Error::Data) for a file without labels, as IDX images are, and for a class
    /// that the run was not trained with.
    pub fn labelled(&self, path: &Path) -> Result<Table> {
        match self {
            Self::Table(table) => csv::labelled(path, table),
            Self::Images { pixels: Some(pixels), classes, .. } => {
                image_rows::labelled(path, *pixels, classes)
            }
            Self::Images { .. } => Err(crate::Error::Data {
                path: path.to_owned(),
                reason: "has no labels; give idx:DIR, a folder with the files t10k-images and t10k-labels"
                    .to_owned(),
            }),
        }
    }
}
