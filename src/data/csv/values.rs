//! Values of a table's cells, row by row.

use super::cell::Cell;
use super::columns::Layout;
use super::encoding::{Column, Labels, Target, TargetKind};
use super::file::File;
use super::options::Missing;
use crate::Result;

/// Rows of a table before standardisation.
#[derive(Debug)]
pub(super) struct Values {
    /// Raw value of each cell, by [`Column::raw`], row after row.
    pub(super) raw: Vec<f64>,
    pub(super) labels: Labels,
    /// Rows that were left out because a value was missing.
    pub(super) dropped: usize,
    /// Missing values that are to be filled.
    pub(super) missing: usize,
}

/// Reads the rows below the header.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) naming line and column of a missing value, unless such rows are dropped or such values filled.
pub(super) fn read(file: &File<'_>, layout: &Layout, missing: Missing) -> Result<Values> {
    let Layout { columns, target, .. } = layout;
    let numbers = target.numbers();
    let mut raw: Vec<f64> = Vec::with_capacity(layout.rows * columns.len());
    let mut labels = match target.kind {
        TargetKind::Classes(_) => Labels::Classes(Vec::with_capacity(layout.rows)),
        TargetKind::Values(_) => Labels::Values(Vec::with_capacity(layout.rows)),
    };
    let (mut dropped, mut filled, mut skip) = (0, 0, layout.header);
    file.each_record(&mut |line, record| {
        if std::mem::take(&mut skip) {
            return Ok(());
        }
        let field = &record[target.place];
        if file.cell(field) == Cell::Missing {
            if missing == Missing::Drop {
                dropped += 1;
                return Ok(());
            }
            let hint = "a label is not filled in; give --missing drop to leave such rows out";
            return Err(missing_value(file, line, &target.name, hint));
        }
        let label = target
            .raw(field, file.decimal_comma, &numbers)
            .map_err(|reason| file.bad_at(line, &format!("label {:?}: {reason}", target.name)))?;
        let fields = record.iter().enumerate().filter(|(place, _)| *place != target.place);
        let (begin, mut gaps) = (raw.len(), 0);
        for (column, (_, field)) in columns.iter().zip(fields) {
            let value = cell(file, line, column, field)?;
            if value.is_nan() && missing == Missing::Refuse {
                let hint = "give --missing drop to leave such rows out, or --missing mean to fill them in";
                return Err(missing_value(file, line, &column.name, hint));
            }
            gaps += usize::from(value.is_nan());
            raw.push(value);
        }
        if gaps > 0 && missing == Missing::Drop {
            raw.truncate(begin);
            dropped += 1;
            return Ok(());
        }
        filled += gaps;
        match &mut labels {
            Labels::Classes(labels) => labels.push(label as u32),
            Labels::Values(values) => values.push(label),
        }
        Ok(())
    })?;
    Ok(Values { raw, labels, dropped, missing: filled })
}

/// Raw value of a cell, by [`Column::raw`]; an error names the cell's line and column.
pub(super) fn cell(file: &File<'_>, line: u64, column: &Column, field: &str) -> Result<f64> {
    let raw = column.raw(file.cell(field), field);
    raw.map_err(|reason| file.bad_at(line, &format!("column {:?}: {reason}", column.name)))
}

/// The error of a missing value.
pub(super) fn missing_value(file: &File<'_>, line: u64, name: &str, hint: &str) -> crate::Error {
    file.bad_at(line, &format!("column {name:?} has no value; {hint}"))
}

impl Labels {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Values(values) => values.len(),
        }
    }
}

impl Target {
    /// Leaves out classes of which no row is left, and numbers the others anew.
    pub(super) fn keep_occurring(&mut self, labels: &mut Labels) {
        let (TargetKind::Classes(names), Labels::Classes(labels)) = (&mut self.kind, labels) else { return };
        let mut occurs = vec![false; names.len()];
        labels.iter().for_each(|&label| occurs[label as usize] = true);
        let mut number = 0;
        let numbers: Vec<u32> = occurs
            .iter()
            .map(|&occurs| {
                number += u32::from(occurs);
                number.saturating_sub(1)
            })
            .collect();
        labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
        let mut occurs = occurs.into_iter();
        names.retain(|_| occurs.next() == Some(true));
    }
}
