//! Rows of the kinds that are built in, and of a program's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batches::{Batches, HostBatch, HostTargets, Input, Picked, Targets};
use super::table::Table;
use super::text::Text;
use crate::{Error, Result};

/// Rows to train on, or to test on.
#[derive(Debug, Clone)]
pub enum Rows {
    /// Features with a label or a value each.
    Table(Table),
    /// Windows of a text, with a label for each byte.
    Text(Text),
    /// Rows of a program's own.
    Batches(Arc<dyn Batches>),
}

impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Table(a), Self::Table(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Batches(a), Self::Batches(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Rows {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Table(table) => table.rows(),
            Self::Text(text) => text.rows(),
            Self::Batches(batches) => batches.rows(),
        }
    }

    /// Features of a row, or bytes of a window.
    pub fn width(&self) -> usize {
        match self {
            Self::Table(table) => table.width(),
            Self::Text(text) => text.context(),
            Self::Batches(batches) => batches.width(),
        }
    }

    /// Targets of a row, where labels are below `classes`.
    pub fn targets(&self, classes: usize) -> Targets {
        match self {
            Self::Table(table) if table.values().is_some() => Targets::Values(1),
            Self::Table(_) | Self::Text(_) => Targets::Classes(classes),
            Self::Batches(batches) => batches.targets(),
        }
    }

    /// Share of labels that the most frequent label has: the accuracy of always answering with it. `None` where labels are not known.
    pub fn majority(&self) -> Option<f64> {
        let mut counts = BTreeMap::<u32, usize>::new();
        let mut count = |label: u32| *counts.entry(label).or_default() += 1;
        match self {
            Self::Table(table) => table.labels().iter().copied().for_each(&mut count),
            Self::Text(text) => text.labels().for_each(|id| count(id.into())),
            Self::Batches(_) => {}
        }
        if counts.is_empty() {
            return None;
        }
        let [most, all] = [counts.values().copied().max().unwrap_or(0), counts.values().sum()];
        Some(most as f64 / all.max(1) as f64)
    }

    /// Population variance of the values of rows that have values: the mean squared error of always answering with their mean.
    pub fn variance(&self) -> Option<f64> {
        let Self::Table(table) = self else { return None };
        let values = table.values()?.iter().map(|&value| f64::from(value));
        let count = table.rows() as f64;
        let mean = values.clone().sum::<f64>() / count;
        Some(values.map(|value| (value - mean).powi(2)).sum::<f64>() / count)
    }

    /// The largest label; of a text the largest id of a byte.
    pub(crate) fn largest_label(&self) -> Option<u32> {
        match self {
            Self::Table(table) => table.labels().iter().copied().max(),
            Self::Text(text) => text.largest().map(u32::from),
            Self::Batches(_) => None,
        }
    }

    /// Forgets all but the first rows.
    ///
    /// # Errors
    /// [`Error::Config`] for rows of a program's own.
    pub(super) fn truncate(&mut self, rows: usize) -> Result<()> {
        match self {
            Self::Table(table) => table.truncate(rows),
            Self::Text(text) => text.truncate(rows),
            Self::Batches(_) => {
                let reason = "rows of a program's own are not cut; give fewer".to_owned();
                return Err(Error::Config { option: "rows", reason });
            }
        }
        Ok(())
    }

    /// Some of the rows, in the order of `rows`.
    ///
    /// # Errors
    /// As [`Table::new`].
    ///
    /// # Panics
    /// If a row is not there.
    pub(super) fn pick(&self, rows: &[u32]) -> Result<Self> {
        Ok(match self {
            Self::Table(table) => Self::Table(table.pick(rows)?),
            Self::Text(text) => Self::Text(text.pick(rows)),
            Self::Batches(batches) => {
                Self::Batches(Arc::new(Picked { of: Arc::clone(batches), rows: rows.to_vec() }))
            }
        })
    }

    /// Gathers rows into a batch; places past the last of `rows` do not count.
    ///
    /// # Errors
    /// [`Error::Config`] if the batch is not for rows of this kind or has too few places; as [`Batches::fill`].
    ///
    /// # Panics
    /// If a row of a table or text is not there.
    pub fn fill(&self, rows: &[u32], batch: &mut HostBatch) -> Result<()> {
        if rows.len() > batch.places {
            let reason = format!("{} rows in a batch of {}", rows.len(), batch.places);
            return Err(Error::Config { option: "batch", reason });
        }
        match (self, &mut batch.input, &mut batch.targets) {
            (Self::Table(table), Input::Floats(features), HostTargets::Classes(labels))
                if table.values().is_none() =>
            {
                table.fill(rows, features.len() / labels.len(), features, labels);
                Ok(())
            }
            (Self::Table(table), Input::Floats(features), HostTargets::Values(values))
                if table.values().is_some() =>
            {
                table.fill_values(rows, features.len() / values.len(), features, values);
                Ok(())
            }
            (Self::Text(text), Input::Ids(ids), HostTargets::Classes(labels)) => {
                text.fill(rows, ids, labels);
                Ok(())
            }
            (Self::Batches(batches), input, targets) => {
                match input {
                    Input::Floats(features) => features.fill(0.0),
                    Input::Ids(ids) => ids.fill(crate::terms::IGNORED),
                }
                match targets {
                    HostTargets::Classes(classes) => classes.fill(crate::terms::IGNORED),
                    HostTargets::Values(values) => values.fill(f32::NAN),
                }
                batches.fill(rows, batch)
            }
            _ => Err(Error::Config {
                option: "data",
                reason: "is not of the kind that the network reads".to_owned(),
            }),
        }
    }
}

impl From<Table> for Rows {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}
