//! Tables: delimited text of numbers, categories and a label, each row an example. `docs/data.md` has the rules.
//!
//! Every fifth row of a shuffle is for testing.

mod cell;
mod columns;
mod encoding;
mod file;
mod in_memory;
mod new_rows;
mod options;
mod standard;
mod values;

use std::path::Path;

pub use encoding::{Column, ColumnKind, TableEncoding, Target, TargetKind};
pub use options::{Label, Missing, TableOptions, Task};
pub use standard::Standard;

pub(super) use new_rows::{labelled, unlabelled};

use super::table::{Features, Table, epoch_order};
use crate::{Result, files};
use encoding::{Labels, listed};
use file::File;

/// A table that was read.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) train: Table,
    pub(crate) test: Table,
    pub(crate) encoding: TableEncoding,
    /// Findings in the file (delimiter, header, classes), in sentences for the user.
    pub(crate) notices: Vec<String>,
}

pub(super) fn load(path: &Path, seed: u64, options: &TableOptions) -> Result<Tables> {
    of_bytes(path, &files::read(path, files::most_bytes())?, seed, options)
}

/// The two tables of a file that was read from `path`.
pub(crate) fn of_bytes(path: &Path, bytes: &[u8], seed: u64, options: &TableOptions) -> Result<Tables> {
    let file = File::new(path, bytes)?;
    let layout = columns::layout(&file, options)?;
    let mut values = values::read(&file, &layout, options.missing)?;
    let columns::Layout { header, mut columns, mut target, notices: mixed, .. } = layout;
    target.keep_occurring(&mut values.labels);

    let order = epoch_order(values.labels.len(), seed, 0);
    let (test, train): (Vec<_>, Vec<_>) = order.iter().enumerate().partition(|(place, _)| place % 5 == 4);
    if test.is_empty() {
        let reason = format!("has {} rows; at least 5 are needed to train and to test", values.labels.len());
        return Err(file.bad(reason));
    }
    let pick =
        |part: &[(usize, &u32)]| -> Vec<usize> { part.iter().map(|(_, row)| **row as usize).collect() };
    let (train, test) = (pick(&train), pick(&test));

    let cells = columns.len();
    for (place, column) in columns.iter_mut().enumerate() {
        column.fit(train.iter().map(|&row| values.raw[row * cells + place]));
    }
    fit_target(&file, &mut target, &values.labels, &train)?;
    let encoding = TableEncoding { header, columns, target, missing: options.missing };
    let table = |part: &[usize]| {
        let mut features = Vec::with_capacity(part.len() * encoding.width());
        for row in part {
            let raw = &values.raw[row * cells..(row + 1) * cells];
            encoding.columns.iter().zip(raw).for_each(|(column, &raw)| column.push(raw, &mut features));
        }
        of_features(&file, &encoding, features, &values.labels.rows(part))
    };
    let (train, test) = (table(&train)?, table(&test)?);
    let mut notices = vec![found(&file, &encoding, &values)];
    notices.extend(mixed);
    notices.extend(counters(&encoding, &values.raw));
    Ok(Tables { train, test, encoding, notices })
}

/// Takes the standardisation of a regression's values from the training rows.
fn fit_target(file: &File<'_>, target: &mut Target, labels: &Labels, train: &[usize]) -> Result<()> {
    let name = &target.name;
    match (&mut target.kind, labels) {
        (TargetKind::Values(standard), Labels::Values(values)) => {
            *standard = Standard::of(train.iter().map(|&row| values[row]));
            if standard.deviation == 0.0 {
                return Err(file.bad(format!("all values of {name:?} are equal: there is nothing to learn")));
            }
        }
        (TargetKind::Classes(names), _) if names.len() < 2 => {
            let reason = format!(
                "all rows have the label {:?} in column {name:?}: there is nothing to learn; give --label for another column",
                names.first().map_or("", String::as_str)
            );
            return Err(file.bad(reason));
        }
        _ => {}
    }
    Ok(())
}

/// Features and labels as a table.
fn of_features(
    file: &File<'_>,
    encoding: &TableEncoding,
    features: Vec<f32>,
    labels: &Labels,
) -> Result<Table> {
    let features = Features::Floats(features);
    let table = match (labels, &encoding.target.kind) {
        (Labels::Values(values), TargetKind::Values(standard)) => {
            let standardised = values.iter().map(|&value| standard.standardised(value) as f32);
            let standardised: Vec<f32> = standardised.collect();
            if let Some(at) = standardised.iter().position(|value| !value.is_finite()) {
                let reason = format!("the value {} is too far from those of the training rows", values[at]);
                return Err(file.bad(reason));
            }
            Table::with_values(features, standardised, encoding.width())
        }
        (Labels::Classes(labels), _) => Table::new(features, labels.clone(), encoding.width()),
        (Labels::Values(_), TargetKind::Classes(_)) => {
            return Err(file.bad("has numbers where classes are wanted".to_owned()));
        }
    };
    table.map_err(|error| file.bad(error.to_string()))
}

impl Labels {
    /// The labels of these rows.
    fn rows(&self, rows: &[usize]) -> Self {
        match self {
            Self::Classes(labels) => Self::Classes(rows.iter().map(|&row| labels[row]).collect()),
            Self::Values(values) => Self::Values(rows.iter().map(|&row| values[row]).collect()),
        }
    }
}

/// The shape of a table, and its label, in a sentence.
fn found(file: &File<'_>, encoding: &TableEncoding, values: &values::Values) -> String {
    let TableEncoding { header, columns, target, .. } = encoding;
    let decimals = if file.decimal_comma { " and decimal commas (1,5 is one and a half)" } else { "" };
    let header = if *header { "a header" } else { "no header" };
    let mut text = format!(
        "{}: {} rows of {} columns with {}{decimals}, {header}",
        file.path.display(),
        values.labels.len(),
        columns.len() + 1,
        file.delimiters(),
    );
    if values.dropped > 0 {
        text += &format!("; {} more rows with a missing value were left out", values.dropped);
    }
    if values.missing > 0 {
        text += &format!("; {} missing values are filled in with means", values.missing);
    }
    let name = if target.name == format!("column {}", target.place + 1) {
        target.name.clone()
    } else {
        format!("column {}, {:?}", target.place + 1, target.name)
    };
    text + &match &target.kind {
        TargetKind::Classes(names) => {
            format!("; the label is {name}, with {} classes: {}", names.len(), listed(names))
        }
        TargetKind::Values(Standard { mean, deviation }) => {
            format!(
                "; the values to predict are in {name}, with mean {mean:.4} and standard deviation {deviation:.4}"
            )
        }
    }
}

/// Notices of columns that count the rows: an index tells the label of sorted rows.
fn counters<'a>(encoding: &'a TableEncoding, raw: &'a [f64]) -> impl Iterator<Item = String> + 'a {
    let cells = encoding.columns.len();
    let counts = move |place: usize| {
        let column = || raw.iter().skip(place).step_by(cells);
        column().zip(column().skip(1)).all(|(one, next)| next - one == 1.0)
    };
    let numbers = encoding.columns.iter().enumerate();
    let numbers = numbers.filter(|(_, column)| matches!(column.kind, ColumnKind::Number(_)));
    numbers.filter(move |(place, _)| counts(*place)).map(|(_, column)| {
        format!(
            "column {:?} counts the rows: if it is an index, remove it, since it tells the label of sorted rows",
            column.name
        )
    })
}
