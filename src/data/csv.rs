//! Tables of numbers: the last column is the label, a whole number from 0; a first row of names is skipped.
//!
//! Every fifth row of a shuffle is for testing. Features are standardised: less the training rows' mean, over their
//! standard deviation; a column that is constant in the training rows becomes 0.

use std::path::Path;

use super::table::{Features, Table, epoch_order};
use crate::{Error, Result, files};

/// More classes than this are taken for a mistake: an identifier in the label's column, say.
const MOST_CLASSES: u32 = 65_536;

/// A longer line is taken for a mistake: a file that is no table, say.
const MOST_LINE: usize = 16 << 20;

pub(super) fn load(path: &Path, seed: u64) -> Result<(Table, Table)> {
    of_bytes(path, &files::read(path, files::most_bytes())?, seed)
}

/// The two tables of a file that was read from `path`.
pub(crate) fn of_bytes(path: &Path, bytes: &[u8], seed: u64) -> Result<(Table, Table)> {
    let (rows, labels) = parse(path, bytes)?;
    let order = epoch_order(rows.len(), seed, 0);
    let (test, train): (Vec<_>, Vec<_>) = order.iter().enumerate().partition(|(place, _)| place % 5 == 4);
    if test.is_empty() {
        let reason = format!("has {} rows; at least 5 are needed to train and to test", rows.len());
        return Err(Error::Data { path: path.to_owned(), reason });
    }
    let pick =
        |part: &[(usize, &u32)]| -> Vec<usize> { part.iter().map(|(_, row)| **row as usize).collect() };
    let (train, test) = (pick(&train), pick(&test));

    let width = rows[0].len();
    let scale: Vec<(f64, f64)> = (0..width)
        .map(|column| {
            let count = train.len() as f64;
            let mean = train.iter().map(|&row| rows[row][column]).sum::<f64>() / count;
            let variance = train.iter().map(|&row| (rows[row][column] - mean).powi(2)).sum::<f64>() / count;
            // The mean of equal numbers is rounded, so their variance need not be 0.
            let constant = train.iter().all(|&row| rows[row][column] == rows[train[0]][column]);
            (mean, if constant || variance == 0.0 { 0.0 } else { 1.0 / variance.sqrt() })
        })
        .collect();
    let table = |part: &[usize]| {
        let standardised = |row: &usize| -> Vec<f32> {
            rows[*row].iter().zip(&scale).map(|(x, (mean, factor))| ((x - mean) * factor) as f32).collect()
        };
        let features: Vec<f32> = part.iter().flat_map(standardised).collect();
        if let Some(at) = features.iter().position(|feature| !feature.is_finite()) {
            let reason =
                format!("column {}: its numbers are too far apart to be standardised", at % width + 1);
            return Err(Error::Data { path: path.to_owned(), reason });
        }
        let features = Features::Floats(features);
        Table::new(features, part.iter().map(|&row| labels[row]).collect(), width)
            .map_err(|error| Error::Data { path: path.to_owned(), reason: error.to_string() })
    };
    Ok((table(&train)?, table(&test)?))
}

/// Features and labels of every row.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Vec<Vec<f64>>, Vec<u32>)> {
    let bad = |line: u64, reason: String| Error::Data {
        path: path.to_owned(),
        reason: format!("line {line}: {reason}"),
    };
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.len() > MOST_LINE {
            let reason = format!("has {} bytes; a line may have {MOST_LINE}", line.len());
            return Err(bad(number as u64 + 1, reason));
        }
    }
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let (mut rows, mut labels): (Vec<Vec<f64>>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut width = None;
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(|error| bad(number as u64 + 1, error.to_string()))?;
        let line = record.position().map_or(number as u64 + 1, csv::Position::line);
        if number == 0 && record.iter().any(|field| field.parse::<f64>().is_err()) {
            width = Some(record.len());
            continue;
        }
        let columns = *width.get_or_insert(record.len());
        if record.len() != columns || columns < 2 {
            let wanted = format!("{} columns, but the first line has {columns}", record.len());
            return Err(bad(
                line,
                if columns < 2 { "features and a label are needed".to_owned() } else { wanted },
            ));
        }
        let numbers = record
            .iter()
            .enumerate()
            .map(|(column, field)| match field.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(bad(line, format!("column {}: {field:?} is not a number", column + 1))),
            })
            .collect::<Result<Vec<f64>>>()?;
        let (&label, features) = numbers.split_last().expect("there are at least two columns");
        if label < 0.0 || label.fract() != 0.0 || label >= f64::from(MOST_CLASSES) {
            let reason = format!("label {label} is not a whole number from 0 to {}", MOST_CLASSES - 1);
            return Err(bad(line, reason));
        }
        rows.push(features.to_vec());
        labels.push(label as u32);
    }
    if rows.is_empty() {
        return Err(bad(1, "there are no rows".to_owned()));
    }
    Ok((rows, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nine times 0.1 over 9 is not 0.1.
    #[test]
    fn a_constant_column_is_zero() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let rows: String = (0..45).map(|row| format!("0.1,{row},{}\n", row % 2)).collect();
        std::fs::write(file.path(), rows).unwrap();
        let (train, test) = load(file.path(), 1).unwrap();
        for table in [train, test] {
            let places: Vec<u32> = (0..table.rows() as u32).collect();
            let (mut features, mut labels) = (vec![9.0; 2 * places.len()], vec![0; places.len()]);
            table.fill(&places, 2, &mut features, &mut labels);
            assert!(features.chunks(2).all(|row| row[0] == 0.0), "{features:?}");
            assert!(features.chunks(2).any(|row| row[1] != 0.0));
        }
    }
}
