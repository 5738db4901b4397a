//! Encoding of a table's rows: how columns become features, and labels targets.

use std::collections::HashMap;

use super::cell::{Cell, class_name};
use super::options::{Missing, Task};
use super::standard::Standard;

/// How the rows of a table become features and targets. A checkpoint keeps it, so that rows of other files are encoded as the
/// training rows were.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TableEncoding {
    /// Whether the training table had a header: columns of other files are matched by name then, and by place otherwise.
    pub header: bool,
    /// Columns that become features, in the order of the training table.
    pub columns: Vec<Column>,
    /// The label or value to predict.
    pub target: Target,
    /// Treatment of missing values.
    pub missing: Missing,
}

/// Column of a table, without the label.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    /// Name in the header; `column 3` without one.
    pub name: String,
    /// Its encoding.
    pub kind: ColumnKind,
}

/// Encoding of a column.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnKind {
    /// One feature: the standardised number.
    Number(Standard),
    /// One feature for each category: 1 for the row's, 0 for the others.
    Categories {
        /// The categories, ascending.
        names: Vec<String>,
        /// Share of each category in the training rows: the features where the category is missing.
        shares: Vec<f64>,
    },
}

/// Column that is predicted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Target {
    /// Name in the header; `column 3` without one.
    pub name: String,
    /// Place in the training table, from 0.
    pub place: usize,
    /// Its encoding.
    pub kind: TargetKind,
}

/// Encoding of a target.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// Names of the classes, in the order of their numbers.
    Classes(Vec<String>),
    /// Standardisation of the values of a regression.
    Values(Standard),
}

/// Targets of rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Labels {
    Classes(Vec<u32>),
    Values(Vec<f64>),
}

impl Column {
    /// Number of features.
    pub fn width(&self) -> usize {
        match &self.kind {
            ColumnKind::Number(_) => 1,
            ColumnKind::Categories { names, .. } => names.len(),
        }
    }

    /// The number or the index of the category in a cell of this column; NaN where it is missing.
    ///
    /// # Errors
    /// What is wrong with the cell.
    pub(super) fn raw(&self, cell: Cell<'_>, field: &str) -> Result<f64, String> {
        match (&self.kind, cell) {
            (_, Cell::Missing) => Ok(f64::NAN),
            (ColumnKind::Number(_), Cell::Number(number)) => Ok(number),
            (ColumnKind::Number(_), Cell::Infinite) => Err(format!("{field:?} is not a finite number")),
            (ColumnKind::Number(_), Cell::Word(_)) => Err(format!("{field:?} is not a number")),
            (ColumnKind::Categories { names, .. }, _) => {
                let place = names.binary_search_by(|name| name.as_str().cmp(field));
                place.map(|place| place as f64).map_err(|_| format!("{field:?} is none of {}", listed(names)))
            }
        }
    }

    /// Appends the features of what [`Column::raw`] returned.
    pub(super) fn push(&self, raw: f64, features: &mut Vec<f32>) {
        match &self.kind {
            ColumnKind::Number(standard) => features.push(standard.feature(raw)),
            ColumnKind::Categories { shares, .. } if raw.is_nan() => {
                features.extend(shares.iter().map(|&share| share as f32));
            }
            ColumnKind::Categories { names, .. } => {
                features.extend((0..names.len()).map(|place| f32::from(u8::from(place as f64 == raw))));
            }
        }
    }

    /// Takes standardisation and shares from the raw cells of the training rows.
    pub(super) fn fit(&mut self, raw: impl Iterator<Item = f64> + Clone) {
        match &mut self.kind {
            ColumnKind::Number(standard) => *standard = Standard::of(raw),
            ColumnKind::Categories { names, shares } => {
                let mut counts = vec![0usize; names.len()];
                raw.filter(|place| !place.is_nan()).for_each(|place| counts[place as usize] += 1);
                let all = counts.iter().sum::<usize>().max(1) as f64;
                *shares = counts.into_iter().map(|count| count as f64 / all).collect();
            }
        }
    }
}

impl Target {
    /// Whether classes or values are predicted.
    pub fn task(&self) -> Task {
        match &self.kind {
            TargetKind::Classes(_) => Task::Classification,
            TargetKind::Values(_) => Task::Regression,
        }
    }

    /// The number of each class, by its name.
    pub(super) fn numbers(&self) -> HashMap<String, u32> {
        match &self.kind {
            TargetKind::Classes(names) => names.iter().cloned().zip(0..).collect(),
            TargetKind::Values(_) => HashMap::new(),
        }
    }

    /// The number of a class by [`Target::numbers`], or the value, in a field of this column.
    ///
    /// # Errors
    /// What is wrong with the field.
    pub(super) fn raw(
        &self,
        field: &str,
        decimal_comma: bool,
        numbers: &HashMap<String, u32>,
    ) -> Result<f64, String> {
        match (&self.kind, Cell::of(field, decimal_comma)) {
            (TargetKind::Values(_), Cell::Number(number)) => Ok(number),
            (TargetKind::Values(_), _) => Err(format!("{field:?} is not a finite number")),
            (TargetKind::Classes(names), _) => {
                let number = numbers.get(&class_name(field, decimal_comma));
                number.map(|&number| number.into()).ok_or_else(|| {
                    format!("{field:?} is none of the {} classes: {}", names.len(), listed(names))
                })
            }
        }
    }
}

impl TableEncoding {
    /// Features of a row.
    pub fn width(&self) -> usize {
        self.columns.iter().map(Column::width).sum()
    }

    /// Names of the classes; none for a regression.
    pub fn classes(&self) -> &[String] {
        match &self.target.kind {
            TargetKind::Classes(names) => names,
            TargetKind::Values(_) => &[],
        }
    }

    /// Refuses an encoding, read from a checkpoint, that encodes nothing: it says what is wrong.
    pub(crate) fn validate(&self) -> Result<(), String> {
        for column in &self.columns {
            let sound = match &column.kind {
                ColumnKind::Number(standard) => standard.is_sound(),
                ColumnKind::Categories { names, shares } => {
                    let ascending = names.is_sorted_by(|a, b| a < b);
                    ascending && names.len() == shares.len() && shares.iter().all(|share| share.is_finite())
                }
            };
            if !sound {
                return Err(format!("the encoding of column {:?} is not sound", column.name));
            }
        }
        match &self.target.kind {
            TargetKind::Values(standard) if !(standard.is_sound() && standard.deviation > 0.0) => {
                Err("the encoding of the target is not sound".to_owned())
            }
            _ if self.width() == 0 || self.target.place > self.columns.len() => {
                Err("the encoding has no feature, or no place for the target".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The first names of a list.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, … ({} more)", names.len() - SHOWN) } else { shown }
}
