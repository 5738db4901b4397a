//! Origins of data sets and of validation rows, as the command line and checkpoints name them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Result};

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
    Images(PathBuf),
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
            Self::Images(path) => Self::Images(whole(path)?),
            Self::Text(path) => Self::Text(whole(path)?),
        })
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
            Some(("images", path)) if !path.is_empty() => Ok(Self::Images(path.into())),
            Some(("text", path)) if !path.is_empty() => Ok(Self::Text(path.into())),
            _ => {
                let path = Path::new(text);
                // The likeliest mistake is a path without its kind.
                let hint = match (path.is_file(), path.is_dir()) {
                    (true, _) => format!("; a table is csv:{text}, and a text is text:{text}"),
                    (_, true) => {
                        format!("; a folder of images is images:{text}, and one of IDX files is idx:{text}")
                    }
                    _ => String::new(),
                };
                Err(bad(format!(
                    "{text:?} is none of digits, fashion-mnist, mnist, idx:DIR, csv:FILE, images:DIR, text:FILE{hint}"
                )))
            }
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
            Self::Images(path) => write!(f, "images:{}", path.display()),
            Self::Text(path) => write!(f, "text:{}", path.display()),
        }
    }
}

/// Origin of the validation rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Holdout {
    /// This share of the training rows, drawn by the seed.
    Share(f64),
    /// All rows of another data set of the same kind.
    Source(Source),
}

impl Holdout {
    /// An origin whose path is absolute; see [`Source::absolute`].
    ///
    /// # Errors
    /// As [`Source::absolute`].
    pub fn absolute(&self) -> Result<Self> {
        Ok(match self {
            Self::Share(share) => Self::Share(*share),
            Self::Source(source) => Self::Source(source.absolute()?),
        })
    }
}

impl FromStr for Holdout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Share(share)),
            Ok(share) => Err(bad_holdout(format!("{share} is not a share above 0 and below 1"))),
            Err(_) => text.parse().map(Self::Source).map_err(|_| {
                bad_holdout(format!(
                    "{text:?} is neither a share, such as 0.1, nor a source as those of --data"
                ))
            }),
        }
    }
}

impl fmt::Display for Holdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => share.fmt(f),
            Self::Source(source) => source.fmt(f),
        }
    }
}

impl serde::Serialize for Holdout {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Holdout {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn bad_holdout(reason: String) -> Error {
    Error::Config { option: "validation", reason }
}
