//! One field of a table: a number, a word, or nothing.

/// Content of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    /// No value: an empty field or one of [`MISSING`].
    Missing,
    /// A finite number.
    Number(f64),
    /// A number that no f64 holds, or an infinity.
    Infinite,
    /// Any other text.
    Word(&'a str),
}

/// Fields that stand for a missing value besides the empty one, in any case.
const MISSING: [&str; 5] = ["na", "n/a", "nan", "null", "?"];

impl<'a> Cell<'a> {
    /// The content of a field without surrounding spaces; with `decimal_comma`, `1,5` is a number.
    pub(crate) fn of(field: &'a str, decimal_comma: bool) -> Self {
        if field.is_empty() || MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(field)) {
            return Self::Missing;
        }
        let parsed = match decimal_comma && field.contains(',') {
            true if field.contains('.') => None,
            true => field.replace(',', ".").parse::<f64>().ok(),
            false => field.parse::<f64>().ok(),
        };
        match parsed {
            Some(number) if number.is_finite() => Self::Number(number),
            Some(_) => Self::Infinite,
            None => Self::Word(field),
        }
    }
}

/// The name of the class that a field stands for: whole numbers have one spelling, so that `1` and `1.0` are one class.
pub(super) fn class_name(field: &str, decimal_comma: bool) -> String {
    match Cell::of(field, decimal_comma) {
        Cell::Number(number) if is_whole(number) => format!("{}", number as i64),
        _ => field.to_owned(),
    }
}

/// Whether a number is whole, and exact in f64.
pub(super) fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 9e15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbers_words_or_missing() {
        let of = |field| Cell::of(field, false);
        for field in ["", "NA", "na", "N/A", "NaN", "nan", "NULL", "?"] {
            assert_eq!(of(field), Cell::Missing, "{field}");
        }
        for (field, number) in [("1", 1.0), ("-2.5", -2.5), ("1e3", 1e3), (".5", 0.5), ("+4", 4.0)] {
            assert_eq!(of(field), Cell::Number(number), "{field}");
        }
        for field in ["inf", "-Infinity", "1e400"] {
            assert_eq!(of(field), Cell::Infinite, "{field}");
        }
        for field in ["1,5", "setosa", "1 2", "-", "0x10"] {
            assert_eq!(of(field), Cell::Word(field), "{field}");
        }
        assert_eq!(Cell::of("1,5", true), Cell::Number(1.5));
        assert_eq!(Cell::of("-1,5e-3", true), Cell::Number(-0.0015));
        assert_eq!(Cell::of("1.234,5", true), Cell::Word("1.234,5"));
    }

    #[test]
    fn whole_numbers_have_one_name() {
        let names = ["1", "1.0", "01", "1e0", "-0", "100", "-10", "1.5", "one"];
        let wanted = ["1", "1", "1", "1", "0", "100", "-10", "1.5", "one"];
        assert_eq!(names.map(|name| class_name(name, false)), wanted);
        assert_eq!(class_name("2,0", true), "2");
    }
}
