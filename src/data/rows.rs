//! Rows of any kind of data, and the batch on the host that they fill.

use std::collections::BTreeMap;

use super::table::Table;
use super::text::Text;

/// Rows to train on, or to test on.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// Features with a label each.
    Table(Table),
    /// Windows of a text, with a label for each character.
    Text(Text),
}

/// A batch of inputs on the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Features, row after row.
    Floats(Vec<f32>),
    /// Numbers of characters, window after window.
    Ids(Vec<u32>),
}

impl Rows {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Table(table) => table.rows(),
            Self::Text(text) => text.rows(),
        }
    }

    /// Share of the most frequent label: the accuracy of a constant answer.
    pub fn majority(&self) -> f64 {
        let mut counts = BTreeMap::<u32, usize>::new();
        let mut count = |label: u32| *counts.entry(label).or_default() += 1;
        match self {
            Self::Table(table) => table.labels().iter().copied().for_each(&mut count),
            Self::Text(text) => text.ids()[1..].iter().for_each(|&id| count(id.into())),
        }
        let [most, all] = [counts.values().copied().max().unwrap_or(0), counts.values().sum()];
        most as f64 / all.max(1) as f64
    }

    /// The largest label; of a text the largest number of a character.
    pub(crate) fn largest_label(&self) -> Option<u32> {
        match self {
            Self::Table(table) => table.labels().iter().copied().max(),
            Self::Text(text) => text.largest().map(u32::from),
        }
    }

    /// Keeps the first rows only.
    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Table(table) => table.truncate(rows),
            Self::Text(text) => text.truncate(rows),
        }
    }

    /// Gathers a batch of as many places as there is room for; those past the last of `rows` do not count.
    ///
    /// # Panics
    /// If a row is not there, or the batch has fewer places than `rows`, or is not for rows of this kind.
    pub fn fill(&self, rows: &[u32], input: &mut Input, labels: &mut [u32]) {
        match (self, input) {
            (Self::Table(table), Input::Floats(features)) => {
                table.fill(rows, features.len() / labels.len(), features, labels);
            }
            (Self::Text(text), Input::Ids(ids)) => text.fill(rows, ids, labels),
            _ => panic!("a network should be trained on the kind of data that it was made for"),
        }
    }
}

impl From<Table> for Rows {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}
