//! Data sets, and where they come from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::batches::{Batches, Targets};
use super::classes;
use super::csv::TableOptions;
use super::encoding::Encoding;
use super::images::ImageOptions;
use super::rows::Rows;
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
    /// Names of the classes; empty where each is called by its number.
    pub class_names: Vec<String>,
    /// Of a text, the bytes that occur in it, ascending; else empty.
    pub vocabulary: Vec<u8>,
    /// How the rows of other files become features and targets, where the data is from files of rows; `None` for texts, whose
    /// vocabulary suffices, and for rows of a program's own.
    pub encoding: Option<Encoding>,
    /// What was found in the file of a table, in sentences for the user.
    pub notices: Vec<String>,
}

/// Origin of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The embedded UCI optdigits.
    Digits,
    /// Fashion-MNIST, where Debian's package or `FRETWORK_DATA` has it.
    FashionMnist,
    /// MNIST, under `FRETWORK_DATA`.
    Mnist,
    /// A folder of four IDX files, named as MNIST's or EMNIST's are, or the beginning of their names in it.
    Idx(PathBuf),
    /// A table: delimited text with a column for the label.
    Csv(PathBuf),
    /// A folder of classes, each a folder of PNG and JPEG images.
    Images(PathBuf, ImageOptions),
    /// A text, or a folder of them.
    Text(PathBuf),
}

impl Source {
    /// A source that stays valid from whatever folder a program is started in: its path is absolute.
    ///
    /// # Errors
    /// [`Error::Config`] where the path is not UTF-8, since a checkpoint keeps it as text; [`Error::Io`] if the current folder is
    /// gone.
    pub fn absolute(&self) -> Result<Self> {
        let whole = |path: &Path| {
            let whole = std::path::absolute(path).map_err(Error::io(path))?;
            let reason = || format!("{} is not UTF-8; choose a path that is", whole.display());
            if whole.to_str().is_some() {
                Ok(whole)
            } else {
                Err(Error::Config { option: "data", reason: reason() })
            }
        };
        Ok(match self {
            Self::Digits | Self::FashionMnist | Self::Mnist => self.clone(),
            Self::Idx(path) => Self::Idx(whole(path)?),
            Self::Csv(path) => Self::Csv(whole(path)?),
            Self::Images(path, options) => Self::Images(whole(path)?, *options),
            Self::Text(path) => Self::Text(whole(path)?),
        })
    }

    /// The source with these options of images; unchanged where it has no images.
    #[must_use]
    pub fn with_images(self, options: ImageOptions) -> Self {
        match self {
            Self::Images(path, _) => Self::Images(path, options),
            other => other,
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |reason: String| Error::Config { option: "data", reason };
        match text.split_once(':') {
            None if text == "digits" => Ok(Self::Digits),
            None if text == "fashion-mnist" => Ok(Self::FashionMnist),
            None if text == "mnist" => Ok(Self::Mnist),
            Some(("idx", path)) if !path.is_empty() => Ok(Self::Idx(path.into())),
            Some(("csv", path)) if !path.is_empty() => Ok(Self::Csv(path.into())),
            Some(("images", path)) if !path.is_empty() => {
                Ok(Self::Images(path.into(), ImageOptions::default()))
            }
            Some(("text", path)) if !path.is_empty() => Ok(Self::Text(path.into())),
            _ => Err(bad(format!(
                "{text:?} is none of digits, fashion-mnist, mnist, idx:DIR, csv:FILE, images:DIR, text:FILE"
            ))),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.write_str("digits"),
            Self::FashionMnist => f.write_str("fashion-mnist"),
            Self::Mnist => f.write_str("mnist"),
            Self::Idx(path) => write!(f, "idx:{}", path.display()),
            Self::Csv(path) => write!(f, "csv:{}", path.display()),
            Self::Images(path, _) => write!(f, "images:{}", path.display()),
            Self::Text(path) => write!(f, "text:{}", path.display()),
        }
    }
}

impl Dataset {
    /// Reads a data set. The seed says how a CSV file is split, and images without a test folder; the others come split; `context` is the length of the windows
    /// of a text.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file and what is wrong with it, or how to get it.
    pub fn load(source: &Source, seed: u64, context: usize) -> Result<Self> {
        Self::load_with(source, seed, context, &TableOptions::default())
    }

    /// Reads a data set as [`Dataset::load`] does, a table with these options.
    ///
    /// # Errors
    /// As [`Dataset::load`]; [`Error::Config`] for a label that no column has, and labels that are not of the task.
    pub fn load_with(source: &Source, seed: u64, context: usize, options: &TableOptions) -> Result<Self> {
        let name = source.to_string();
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
            Source::Images(path, options) => images::load(path, *options, seed)?,
            Source::Csv(path) => {
                let csv::Tables { train, test, encoding, notices } = csv::load(path, seed, options)?;
                let class_names = encoding.classes().to_vec();
                let classes = class_names.len();
                let encoding = Some(Encoding::Table(encoding));
                let data = Self::of_tables(&name, train, test, classes);
                return Ok(Self { class_names, encoding, notices, ..data });
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
                    class_names: Vec::new(),
                    vocabulary,
                    encoding: None,
                    notices: Vec::new(),
                });
            }
        };
        let class_names = classes.names;
        let encoding = Some(Encoding::of_images(&train));
        Ok(Self { class_names, encoding, ..Self::of_tables(&name, train, test, classes.count) })
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
            class_names: Vec::new(),
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
            class_names: Vec::new(),
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
