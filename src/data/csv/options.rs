//! Options of a table: the column of its label, what is done with missing values, and what is learned.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Column of a table that holds the label, or the value of a regression.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// The one column that the header names like a label ([`Label::NAMES`]), else the last.
    #[default]
    Auto,
    /// The first column.
    First,
    /// The last column.
    Last,
    /// The column of this number, counted from 1.
    Place(usize),
    /// The column of this name.
    Name(String),
}

impl Label {
    /// Names of a label in a header, in lower case.
    pub const NAMES: [&'static str; 6] = ["label", "labels", "class", "target", "species", "y"];

    /// Place of the one field of a header that is one of [`Label::NAMES`], in any case; beside `x`, `y` is a coordinate.
    pub(super) fn usual<'a>(header: impl Iterator<Item = &'a str> + Clone) -> Option<usize> {
        let has_x = header.clone().any(|name| name.eq_ignore_ascii_case("x"));
        let is_usual = |name: &str| {
            let is = |usual: &&str| usual.eq_ignore_ascii_case(name);
            Self::NAMES.iter().any(is) && !(has_x && name.eq_ignore_ascii_case("y"))
        };
        let mut places = header.enumerate().filter(|(_, name)| is_usual(name)).map(|(place, _)| place);
        places.next().filter(|_| places.next().is_none())
    }
}

impl FromStr for Label {
    type Err = Error;

    /// `first`, `last` and whole numbers from 1 are places; any other text is a name.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |reason| Err(Error::Config { option: "label", reason });
        match (text, text.parse::<usize>()) {
            ("", _) => bad("an empty name is none of a column".to_owned()),
            ("first", _) => Ok(Self::First),
            ("last", _) => Ok(Self::Last),
            (_, Ok(0)) => bad("columns are counted from 1".to_owned()),
            (_, Ok(place)) => Ok(Self::Place(place)),
            (name, Err(_)) => Ok(Self::Name(name.to_owned())),
        }
    }
}

/// Treatment of missing values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// A missing value is an error, which names its line and column.
    #[default]
    Refuse,
    /// Rows with a missing value are left out.
    Drop,
    /// A missing number is the mean of its column in the training rows; a missing category is the share of each category.
    Mean,
}

impl FromStr for Missing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "drop" => Ok(Self::Drop),
            "mean" => Ok(Self::Mean),
            _ => {
                let reason = format!("{text:?} is none of refuse, drop, mean");
                Err(Error::Config { option: "missing", reason })
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "refuse",
            Self::Drop => "drop",
            Self::Mean => "mean",
        })
    }
}

/// Quantity that a network learns of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// A class, by softmax cross-entropy.
    #[default]
    Classification,
    /// A number, by mean squared error.
    Regression,
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "classification" => Ok(Self::Classification),
            "regression" => Ok(Self::Regression),
            _ => {
                let reason = format!("{text:?} is none of classification, regression");
                Err(Error::Config { option: "task", reason })
            }
        }
    }
}

/// How a table is read: part of a run's settings, so that a resumed run reads the same table in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct TableOptions {
    /// Column of the label.
    pub label: Label,
    /// Treatment of missing values.
    pub missing: Missing,
    /// The task to learn; `None` for a classification, where the labels are words or few whole numbers.
    pub task: Option<Task>,
}

impl TableOptions {
    /// Whether all options have their default.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
