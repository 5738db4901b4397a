//! Rows of a program's memory, encoded as the training rows were.

use std::path::Path;

use super::encoding::{ColumnKind, TableEncoding};
use super::new_rows;
use super::options::Missing;
use crate::data::table::Features;
use crate::{Error, Result};

/// Name of the rows in errors, where those of files have a path.
const ROWS: &str = "the rows";

impl TableEncoding {
    /// Features of rows of numbers, a number for each of the [columns](TableEncoding::columns) in their order; NaN where one is missing.
    ///
    /// # Errors
    /// [`Error::Argument`] for numbers that are no whole rows; [`Error::Data`] naming the row and column of a number that is infinite, or
    /// missing where the run fills none in, and a column of categories, which numbers don't name.
    pub fn of_numbers(&self, numbers: &[f64]) -> Result<Features> {
        let columns = &self.columns;
        let bad = |reason: String| Error::Data { path: ROWS.into(), reason };
        if let Some(column) =
            columns.iter().find(|column| matches!(column.kind, ColumnKind::Categories { .. }))
        {
            let reason =
                format!("column {:?} has categories, not numbers; give a table with its header", column.name);
            return Err(bad(reason));
        }
        if numbers.is_empty() || !numbers.len().is_multiple_of(columns.len()) {
            let wanted = format!("rows of {} numbers", columns.len());
            return Err(Error::argument("encoding", "rows", wanted, format!("{} numbers", numbers.len())));
        }
        let mut features = Vec::with_capacity(numbers.len());
        for (number, row) in numbers.chunks(columns.len()).enumerate() {
            for (column, &value) in columns.iter().zip(row) {
                if value.is_infinite() {
                    return Err(bad(format!("row {number}: column {:?} is infinite", column.name)));
                }
                if value.is_nan() && self.missing != Missing::Mean {
                    let reason =
                        "has no value; the run was not trained with --missing mean, so none can be filled in";
                    return Err(bad(format!("row {number}: column {:?} {reason}", column.name)));
                }
                column.push(value, &mut features);
            }
        }
        Ok(Features::Floats(features))
    }

    /// Features of a table in the bytes of a CSV file; the label's column may be there or not.
    ///
    /// # Errors
    /// As [`Encoding::features`](crate::data::Encoding::features).
    pub fn of_csv(&self, bytes: &[u8]) -> Result<Features> {
        new_rows::unlabelled_bytes(Path::new(ROWS), bytes, self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoding::{Column, Target, TargetKind};
    use super::super::standard::Standard;
    use super::*;

    fn encoding(missing: Missing) -> TableEncoding {
        let column = |name: &str, mean, deviation| Column {
            name: name.to_owned(),
            kind: ColumnKind::Number(Standard { mean, deviation }),
        };
        TableEncoding {
            header: true,
            columns: vec![column("a", 1.0, 2.0), column("b", 0.0, 4.0)],
            target: Target {
                name: "y".to_owned(),
                place: 2,
                kind: TargetKind::Classes(vec!["0".to_owned()]),
            },
            missing,
        }
    }

    #[test]
    fn numbers_and_bytes_are_encoded_alike() {
        let encoding = encoding(Missing::Mean);
        let features = encoding.of_numbers(&[3.0, 2.0, f64::NAN, -8.0]).unwrap();
        assert_eq!(features, Features::Floats(vec![1.0, 0.5, 0.0, -2.0]));
        assert_eq!(encoding.of_csv(b"b,a\n2,3\n-8,\n").unwrap(), features);
    }

    #[test]
    fn what_is_wrong_with_a_row_is_named() {
        let strict = encoding(Missing::Refuse);
        let refusal = |numbers: &[f64]| strict.of_numbers(numbers).unwrap_err().to_string();
        assert!(refusal(&[1.0]).contains("rows of 2 numbers"));
        assert!(refusal(&[]).contains("rows of 2 numbers"));
        assert!(refusal(&[0.0, 0.0, 1.0, f64::NAN]).contains("row 1: column \"b\" has no value"));
        assert!(refusal(&[f64::INFINITY, 0.0]).contains("row 0: column \"a\" is infinite"));
        let mut words = encoding(Missing::Mean);
        words.columns[0].kind = ColumnKind::Categories { names: vec!["x".to_owned()], shares: vec![1.0] };
        let refused = words.of_numbers(&[0.0, 0.0]).unwrap_err().to_string();
        assert!(refused.contains("column \"a\" has categories"), "{refused}");
    }
}
