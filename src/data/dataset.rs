//! Data sets: rows to train on, to test on and to choose by.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batches::{Batches, Targets};
use super::classes;
use super::csv::TableOptions;
use super::encoding::Encoding;
use super::images::ImageOptions;
use super::rows::Rows;
use super::source::{Holdout, Source};
use super::table::Table;
use super::{csv, digits, idx_folder, images, text};
use crate::{Error, Result};

/// Rows to train on and rows to test on.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Name in reports.
    pub name: String,
    /// The rows to train on.
    pub train: Rows,
    /// The rows to test on.
    pub test: Rows,
    /// The rows to choose by, where some are set aside.
    pub validation: Option<Rows>,
    /// Labels are below this; 0 where rows have values in place of labels.
    pub classes: usize,
    /// Of a text, the bytes that occur in it, ascending; else empty.
    pub vocabulary: Vec<u8>,
    /// How the rows of other files become features and targets, where the data is from files of rows; `None` for texts, whose
    /// vocabulary suffices, and for rows of a program's own.
    pub encoding: Option<Encoding>,
    /// Findings in the file of a table (delimiter, header, classes), in sentences for the user.
    pub notices: Vec<String>,
}

/// Options of reading a data set.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Seed of the splits that are drawn.
    pub seed: u64,
    /// Length of the windows of a text, in bytes.
    pub context: usize,
    /// Treatment of a table.
    pub table: TableOptions,
    /// Treatment of images.
    pub images: ImageOptions,
    /// Numbers of rows to train on and to test on that are kept; all of them where there is no number.
    pub first_rows: [Option<usize>; 2],
    /// Origin of the validation rows, if there are to be any.
    pub validation: Option<Holdout>,
}

impl Dataset {
    /// Reads all rows of a data set. The seed draws the split of a table, and of images without a test folder; other sources come
    /// split. `context` is the length of the windows of a text, in bytes.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file and what is wrong with it, or how to get it.
    pub fn load(source: &Source, seed: u64, context: usize) -> Result<Self> {
        Self::load_with(source, &LoadOptions { seed, context, ..LoadOptions::default() })
    }

    /// Reads a data set with these options, keeps the first rows, and sets validation rows aside.
    ///
    /// # Errors
    /// As [`Dataset::load`], [`Dataset::first`] and [`Dataset::hold_out`]; [`Error::Config`] for a label that no column has, and labels
    /// that are not of the task.
    pub fn load_with(source: &Source, options: &LoadOptions) -> Result<Self> {
        let data = Self::read(source, options)?.first(options.first_rows)?;
        match &options.validation {
            Some(of) => data.hold_out(of, options),
            None => Ok(data),
        }
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// As [`Dataset::load_with`].
    pub(super) fn read(source: &Source, options: &LoadOptions) -> Result<Self> {
        let name = source.to_string();
        let &LoadOptions { seed, context, .. } = options;
        let (train, test, classes) = match source {
            Source::Digits => {
                let (train, test) = digits::load()?;
                classes::number(Path::new(&name), train, test)?
            }
            Source::FashionMnist => {
                idx_folder::load(&find("fashion-mnist", "apt-get install dataset-fashion-mnist, or put")?)?
            }
            Source::Mnist => idx_folder::load(&find("mnist", "put")?)?,
            Source::Idx(folder) => idx_folder::load(folder)?,
            Source::Images(path) => {
                let images::Loaded { train, test, classes, pixels } =
                    images::load(path, options.images, seed)?;
                let encoding = Some(Encoding::of_images(&train, classes.names, Some(pixels)));
                return Ok(Self { encoding, ..Self::of_tables(&name, train, test, classes.count) });
            }
            Source::Csv(path) => {
                let csv::Tables { train, test, encoding, notices } = csv::load(path, seed, &options.table)?;
                let data = Self::of_tables(&name, train, test, encoding.classes().len());
                return Ok(Self { encoding: Some(Encoding::Table(encoding)), notices, ..data });
            }
            Source::Text(path) => {
                let (vocabulary, [train, test]) = text::load(path, context)?;
                let (train, test) = (Rows::Text(train), Rows::Text(test));
                let classes = vocabulary.len();
                return Ok(Self {
                    name,
                    train,
                    test,
                    validation: None,
                    classes,
                    vocabulary,
                    encoding: None,
                    notices: Vec::new(),
                });
            }
        };
        let encoding = Some(Encoding::of_images(&train, classes.names, None));
        Ok(Self { encoding, ..Self::of_tables(&name, train, test, classes.count) })
    }

    /// A data set of features with labels below `classes`.
    pub fn of_tables(name: &str, train: Table, test: Table, classes: usize) -> Self {
        let name = name.to_owned();
        Self {
            name,
            train: train.into(),
            test: test.into(),
            validation: None,
            classes,
            vocabulary: Vec::new(),
            encoding: None,
            notices: Vec::new(),
        }
    }

    /// A data set of a program's own rows: whatever implements [`Batches`].
    ///
    /// # Errors
    /// [`Error::Argument`] if the two parts differ in features or targets, or have no rows.
    pub fn of_batches(name: &str, train: Arc<dyn Batches>, test: Arc<dyn Batches>) -> Result<Self> {
        let shape = |rows: &dyn Batches| (rows.width(), rows.targets());
        if shape(&*train) != shape(&*test) || train.rows() == 0 || test.rows() == 0 {
            let words = |rows: &dyn Batches| format!("{} rows of {:?}", rows.rows(), shape(rows));
            let found = format!("{} and {}", words(&*train), words(&*test));
            return Err(Error::argument(name, "rows", "some, of equal width and targets", found));
        }
        let classes = match train.targets() {
            Targets::Classes(classes) => classes,
            Targets::Values(_) => 0,
        };
        let (train, test) = (Rows::Batches(train), Rows::Batches(test));
        Ok(Self {
            name: name.to_owned(),
            train,
            test,
            validation: None,
            classes,
            vocabulary: Vec::new(),
            encoding: None,
            notices: Vec::new(),
        })
    }

    /// Targets of a row.
    pub fn targets(&self) -> Targets {
        self.train.targets(self.classes)
    }

    /// Only the first rows, to train on and to test on; all of them where there is no number.
    ///
    /// # Errors
    /// [`Error::Config`] if there are not that many, or none are asked for.
    pub fn first(mut self, [train, test]: [Option<usize>; 2]) -> Result<Self> {
        for (option, table, rows) in [("rows", &mut self.train, train), ("test-rows", &mut self.test, test)] {
            let Some(rows) = rows else { continue };
            if rows == 0 || rows > table.rows() {
                let reason = format!("{rows} rows, but {} has {}", self.name, table.rows());
                return Err(Error::Config { option, reason });
            }
            table.truncate(rows)?;
        }
        Ok(self)
    }

    /// Features of a row, or bytes of a window.
    pub fn width(&self) -> usize {
        self.train.width()
    }
}

/// The first folder that has the training images of `name`.
fn find(name: &str, how: &str) -> Result<PathBuf> {
    let given = std::env::var_os("FRETWORK_DATA").map(PathBuf::from);
    let mut places: Vec<PathBuf> = given.iter().flat_map(|root| [root.join(name), root.clone()]).collect();
    places.push(Path::new("/usr/share/datasets").join(name));
    places.iter().find(|place| idx_folder::is_there(place)).cloned().ok_or_else(|| Error::Data {
        path: name.into(),
        reason: format!(
            "not found in {}; {how} the four IDX files under $FRETWORK_DATA/{name}",
            places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
        ),
    })
}
