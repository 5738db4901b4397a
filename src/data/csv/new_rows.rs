//! Rows of another table than the one trained on, encoded as the training rows were.

use std::path::Path;

use csv::StringRecord;

use super::cell::Cell;
use super::encoding::{ColumnKind, Labels, TableEncoding, TargetKind, listed};
use super::file::File;
use super::of_features;
use super::options::Missing;
use super::values::{cell, missing_value};
use crate::data::table::{Features, Table};
use crate::{Result, files};

/// The rows of a file with their labels, in the file's order.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) naming the line and column of what the encoding does not have: an unknown category or class,
/// a missing column or value.
pub(in crate::data) fn labelled(path: &Path, encoding: &TableEncoding) -> Result<Table> {
    let bytes = files::read(path, files::most_bytes())?;
    let file = File::new(path, &bytes)?;
    let Rows { features, labels } = read(&file, encoding, true)?;
    of_features(&file, encoding, features, &labels)
}

/// The features of a file's rows, row after row in the file's order; the label's column may be there or not.
///
/// # Errors
/// As [`labelled`].
pub(in crate::data) fn unlabelled(path: &Path, encoding: &TableEncoding) -> Result<Features> {
    unlabelled_bytes(path, &files::read(path, files::most_bytes())?, encoding)
}

/// [`unlabelled`] of the bytes of a file, which `path` names in errors.
///
/// # Errors
/// As [`labelled`].
pub(super) fn unlabelled_bytes(path: &Path, bytes: &[u8], encoding: &TableEncoding) -> Result<Features> {
    let file = File::new(path, bytes)?;
    Ok(Features::Floats(read(&file, encoding, false)?.features))
}

/// Encoded rows; without labels where none were asked for.
struct Rows {
    features: Vec<f32>,
    labels: Labels,
}

/// Places of an encoding's columns in a file.
struct Places {
    columns: Vec<usize>,
    label: Option<usize>,
}

fn read(file: &File<'_>, encoding: &TableEncoding, labelled: bool) -> Result<Rows> {
    let target = &encoding.target;
    let numbers = target.numbers();
    let mut places: Option<Places> = None;
    let mut rows = Rows {
        features: Vec::new(),
        labels: match target.kind {
            TargetKind::Classes(_) => Labels::Classes(Vec::new()),
            TargetKind::Values(_) => Labels::Values(Vec::new()),
        },
    };
    file.each_record(&mut |line, record| {
        if places.is_none() {
            places = Some(Places::of(file, encoding, record, labelled)?);
            if encoding.header || is_header(file, encoding, record, places.as_ref()) {
                return Ok(());
            }
        }
        let Some(Places { columns, label }) = &places else { return Ok(()) };
        for (column, &place) in encoding.columns.iter().zip(columns) {
            let raw = cell(file, line, column, &record[place])?;
            if raw.is_nan() && encoding.missing != Missing::Mean {
                let hint = "the run was not trained with --missing mean, so such a value cannot be filled in";
                return Err(missing_value(file, line, &column.name, hint));
            }
            column.push(raw, &mut rows.features);
        }
        let Some(place) = label.filter(|_| labelled) else { return Ok(()) };
        let label = target
            .raw(&record[place], file.decimal_comma, &numbers)
            .map_err(|reason| file.bad_at(line, &format!("label {:?}: {reason}", target.name)))?;
        match &mut rows.labels {
            Labels::Classes(labels) => labels.push(label as u32),
            Labels::Values(values) => values.push(label),
        }
        Ok(())
    })?;
    if rows.features.is_empty() {
        return Err(file.bad("has no rows".to_owned()));
    }
    Ok(rows)
}

impl Places {
    /// By name in the first record where the training table had a header, else by place: with the label's column, or without it.
    fn of(file: &File<'_>, encoding: &TableEncoding, first: &StringRecord, labelled: bool) -> Result<Self> {
        let TableEncoding { columns, target, .. } = encoding;
        let found = if encoding.header {
            let given = names(first);
            let place = |name: &str| -> Result<Option<usize>> {
                let mut places = (0..given.len()).filter(|&place| given[place] == name);
                match (places.next(), places.next()) {
                    (Some(_), Some(_)) => Err(file.bad(format!("two columns are named {name:?}"))),
                    (place, _) => Ok(place),
                }
            };
            let missing = |name: &str| {
                let reason = format!(
                    "has no column {name:?}, which the run was trained with; its first row has {}",
                    listed(&given)
                );
                file.bad(reason)
            };
            let of_column = |name: &String| place(name)?.ok_or_else(|| missing(name));
            let places = columns.iter().map(|column| of_column(&column.name));
            let label = match labelled {
                true => Some(of_column(&target.name)?),
                false => None,
            };
            Self { columns: places.collect::<Result<_>>()?, label }
        } else if first.len() == columns.len() + 1 {
            let places = (0..first.len()).filter(|&place| place != target.place).collect();
            Self { columns: places, label: Some(target.place) }
        } else if first.len() == columns.len() && !labelled {
            Self { columns: (0..first.len()).collect(), label: None }
        } else {
            let wanted = if labelled { "" } else { ", or one less without the label" };
            return Err(file.bad(format!(
                "has {} columns, but the run was trained with {}, the label among them{wanted}",
                first.len(),
                columns.len() + 1
            )));
        };
        Ok(found)
    }
}

/// The names in a header, an empty one being that of its place, as in training.
fn names(header: &StringRecord) -> Vec<String> {
    let name = |(place, name): (usize, &str)| match name {
        "" => format!("column {}", place + 1),
        name => name.to_owned(),
    };
    header.iter().enumerate().map(name).collect()
}

/// Whether the first record of a file is a header although that of the training table was none: it has no number, and a word in
/// a column of numbers.
fn is_header(
    file: &File<'_>,
    encoding: &TableEncoding,
    first: &StringRecord,
    places: Option<&Places>,
) -> bool {
    let has_number = first.iter().any(|field| matches!(file.cell(field), Cell::Number(_) | Cell::Infinite));
    let mut columns = encoding.columns.iter().zip(places.into_iter().flat_map(|places| &places.columns));
    !has_number
        && columns.any(|(column, &place)| {
            matches!(column.kind, ColumnKind::Number(_)) && matches!(file.cell(&first[place]), Cell::Word(_))
        })
}
