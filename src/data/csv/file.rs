//! A table's file: its byte-order mark, delimiter and decimal sign, and its records.

use std::path::Path;

use csv::StringRecord;

use super::cell::Cell;
use crate::{Error, Result};

/// A longer line is taken for a mistake: a file that is no table, say.
const MOST_LINE: usize = 16 << 20;

/// Delimiters, with their names.
const DELIMITERS: [(u8, &str); 4] = [(b',', "commas"), (b';', "semicolons"), (b'\t', "tabs"), (b'|', "bars")];

/// Records that are read to find the delimiter.
const SAMPLE: usize = 200;

/// A table's file, and how it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) path: &'a Path,
    bytes: &'a [u8],
    delimiter: u8,
    /// Whether `1,5` is a number.
    pub(super) decimal_comma: bool,
}

impl<'a> File<'a> {
    /// Finds out how the bytes of a file are written.
    ///
    /// # Errors
    /// [`Error::Data`] for bytes that are no text, text that is not UTF-8 by its byte-order mark, and for a line that is too long.
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut file = Self { path, bytes, delimiter: b',', decimal_comma: false };
        if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
            return Err(file.bad("is UTF-16; save it as UTF-8".to_owned()));
        }
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(file.bad(format!("is no text: its byte {at} is 0")));
        }
        for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.len() > MOST_LINE {
                let reason = format!("has {} bytes; a line may have {MOST_LINE}", line.len());
                return Err(file.bad_at(number as u64 + 1, &reason));
            }
        }
        file.delimiter = file.find_delimiter();
        if file.delimiter != b',' {
            file.decimal_comma = file.has_decimal_commas()?;
        }
        Ok(file)
    }

    /// The delimiter in words: `commas`.
    pub(super) fn delimiters(&self) -> &'static str {
        DELIMITERS.iter().find(|(delimiter, _)| *delimiter == self.delimiter).map_or("", |(_, name)| name)
    }

    pub(super) fn bad(&self, reason: String) -> Error {
        Error::Data { path: self.path.to_owned(), reason }
    }

    pub(super) fn bad_at(&self, line: u64, reason: &str) -> Error {
        self.bad(format!("line {line}: {reason}"))
    }

    pub(super) fn cell<'b>(&self, field: &'b str) -> Cell<'b> {
        Cell::of(field, self.decimal_comma)
    }

    /// Calls `each` with the line and the fields of every record that is not blank. All records have as many fields as the first.
    ///
    /// # Errors
    /// Those of `each`; [`Error::Data`] naming the line of a record with another number of fields, or that is not UTF-8.
    pub(super) fn each_record(&self, each: &mut dyn FnMut(u64, &StringRecord) -> Result<()>) -> Result<()> {
        let mut reader = reader(self.bytes, self.delimiter);
        let (mut record, mut width) = (StringRecord::new(), None);
        loop {
            let line = reader.position().line();
            let more = reader.read_record(&mut record).map_err(|error| self.malformed(line, &error))?;
            if !more {
                return Ok(());
            }
            if is_blank(&record) {
                continue;
            }
            let line = record.position().map_or(line, |place| self.line_of(place));
            let columns = *width.get_or_insert(record.len());
            if record.len() != columns {
                let reason = format!("{} columns, but the first line has {columns}", record.len());
                return Err(self.bad_at(line, &reason));
            }
            each(line, &record)?;
        }
    }

    /// The line of the record at a place where a reader began to look for it: after empty lines.
    fn line_of(&self, place: &csv::Position) -> u64 {
        let rest = self.bytes.iter().skip(place.byte() as usize);
        let ends = rest.take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|byte| **byte == b'\n');
        place.line() + ends.count() as u64
    }

    fn malformed(&self, line: u64, error: &csv::Error) -> Error {
        match error.kind() {
            csv::ErrorKind::Utf8 { pos, .. } => {
                let line = pos.as_ref().map_or(line, csv::Position::line);
                self.bad_at(line, "is not UTF-8; save the table as UTF-8")
            }
            _ => self.bad_at(line, &error.to_string()),
        }
    }

    /// The delimiter by which the first records have the most fields that are numbers, in records of one length. With none that
    /// divides the first record, the comma.
    fn find_delimiter(&self) -> u8 {
        let scores = DELIMITERS.map(|(delimiter, _)| (self.score(delimiter), delimiter));
        let best = scores.into_iter().reduce(|best, other| if other.0 > best.0 { other } else { best });
        best.map_or(b',', |(_, delimiter)| delimiter)
    }

    /// How well a delimiter divides the first records: the share of records of the commonest length times the share of numbers,
    /// and the number of columns; zeros for a delimiter that occurs in few records.
    fn score(&self, delimiter: u8) -> (f64, usize) {
        let mut reader = reader(self.bytes, delimiter);
        let records: Vec<_> =
            reader.records().take(SAMPLE).map_while(Result::ok).filter(|record| !is_blank(record)).collect();
        let mut lengths: Vec<usize> = records.iter().map(StringRecord::len).collect();
        lengths.sort_unstable();
        let commonest = lengths.chunk_by(|a, b| a == b).max_by_key(|same| same.len());
        let Some((width, even)) = commonest.map(|same| (same[0], same.len())) else { return (0.0, 0) };
        if width < 2 {
            return (0.0, 0);
        }
        let fields = || records.iter().flat_map(StringRecord::iter);
        let plain =
            fields().filter(|field| !matches!(Cell::of(field, delimiter != b','), Cell::Word(_))).count();
        let share = plain as f64 / fields().count() as f64;
        // A table of words alone has a score, too.
        (even as f64 / records.len() as f64 * (0.1 + share), width)
    }

    /// Whether there are numbers with a decimal comma and none with a decimal point.
    fn has_decimal_commas(&self) -> Result<bool> {
        let (mut commas, mut points) = (false, false);
        self.each_record(&mut |_, record| {
            for field in record {
                commas |= field.contains(',') && matches!(Cell::of(field, true), Cell::Number(_));
                points |= field.contains('.') && matches!(Cell::of(field, false), Cell::Number(_));
            }
            Ok(())
        })?;
        Ok(commas && !points)
    }
}

fn reader(bytes: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    let mut builder = csv::ReaderBuilder::new();
    builder.has_headers(false).flexible(true).trim(csv::Trim::All).delimiter(delimiter);
    builder.from_reader(bytes)
}

/// A line of spaces alone; an empty one is no record at all.
fn is_blank(record: &StringRecord) -> bool {
    record.len() == 1 && record.get(0) == Some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (u8, bool) {
        let file = File::new(Path::new("table.csv"), text.as_bytes()).unwrap();
        (file.delimiter, file.decimal_comma)
    }

    #[test]
    fn the_delimiter_and_the_decimal_sign_are_found() {
        for (text, wanted) in [
            ("1,2.5,0\n3,1.5,1\n", (b',', false)),
            ("1;2.5;0\n3;1.5;1\n", (b';', false)),
            ("1,5;2,5;0\n3,0;1,5;1\n", (b';', true)),
            ("a\tb\tlabel\n1\t2\tx\n", (b'\t', false)),
            ("1,5\t2\tx\n", (b'\t', true)),
            ("1|2|0\n", (b'|', false)),
            // Semicolons within a field of words do not divide it.
            ("a;b,1,2\nc;d,3,4\n", (b',', false)),
            ("\"a,b\";1;2\n\"c,d\";3;4\n", (b';', false)),
            ("red;small\nblue;large\n", (b';', false)),
            // A decimal point elsewhere: the comma is no decimal sign.
            ("1,5;2.5;0\n", (b';', false)),
            ("0\n1\n", (b',', false)),
            ("", (b',', false)),
        ] {
            assert_eq!(found(text), wanted, "{text:?}");
        }
        // One line that is cut short does not change the delimiter.
        let cut = b"1;2,5;3\n1;2\n4;5,5;6\n7;8,5;9\n1;1,0;1\n";
        let error = File::new(Path::new("table.csv"), cut).unwrap_err().to_string();
        assert_eq!(error, "table.csv: line 2: 2 columns, but the first line has 3");
    }

    #[test]
    fn marks_blank_lines_and_quotes_are_no_data() {
        let text = b"\xEF\xBB\xBF 1 ,\"2\",\"a\"\"b\"\r\n   \n\n3,4,c\n\n";
        let file = File::new(Path::new("table.csv"), text).unwrap();
        let mut seen = Vec::new();
        file.each_record(&mut |line, record| {
            seen.push((line, record.iter().map(str::to_owned).collect::<Vec<_>>()));
            Ok(())
        })
        .unwrap();
        let words = |words: [&str; 3]| words.map(str::to_owned).to_vec();
        assert_eq!(seen, [(1, words(["1", "2", "a\"b"])), (4, words(["3", "4", "c"]))]);
        let refused = |bytes: &[u8]| {
            let file = File::new(Path::new("table.csv"), bytes);
            file.and_then(|file| file.each_record(&mut |_, _| Ok(()))).unwrap_err().to_string()
        };
        assert_eq!(refused(b"\xFF\xFE1\0"), "table.csv: is UTF-16; save it as UTF-8");
        assert_eq!(refused(b"1,2\n3,\xE9\n"), "table.csv: line 2: is not UTF-8; save the table as UTF-8");
    }
}
