//! Numbers of classes: the labels that occur in the training rows, in ascending order.

use std::path::Path;

use super::table::Table;
use crate::{Error, Result};

/// Classes of a data set.
#[derive(Debug)]
pub(super) struct Classes {
    pub(super) count: usize,
    /// Their names; none where each is called by its number.
    pub(super) names: Vec<String>,
}

/// Numbers the labels of the training rows from 0 up, in ascending order, in both parts. Labels that are 0, 1, 2, … stay as they are.
///
/// # Errors
/// [`Error::Data`] for a single class, and for a test row with a label that no training row has.
pub(super) fn number(path: &Path, mut train: Table, mut test: Table) -> Result<(Table, Table, Classes)> {
    let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
    let mut known = train.labels().to_vec();
    known.sort_unstable();
    known.dedup();
    if let [only] = known[..] {
        return Err(bad(format!("every training row has the label {only}; at least 2 classes are needed")));
    }
    let class = |label: &u32| known.binary_search(label).map(|class| class as u32).ok();
    for (part, table) in [("training", &mut train), ("test", &mut test)] {
        table.relabel(|label| class(&label)).map_err(|row| {
            let label = table.labels()[row];
            bad(format!("{part} row {row} has label {label}, which no training row has"))
        })?;
    }
    let are_numbers = known.iter().enumerate().all(|(class, &label)| class == label as usize);
    let names = if are_numbers { Vec::new() } else { known.iter().map(u32::to_string).collect() };
    Ok((train, test, Classes { count: known.len(), names }))
}
