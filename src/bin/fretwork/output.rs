//! Lines on the standard output, whose reader may close it early, as `head` does; units and numbers in them.

use std::fmt::Display;
use std::io::Write as _;

use anyhow::{Context as _, Result};

/// Writes a line. An error is returned where `println!` would panic on a closed pipe.
pub(crate) fn line(text: impl Display) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}

/// A number with at least five significant digits, in the units of a table's column.
pub(crate) fn significant(number: f64) -> String {
    match number.abs() {
        size if size != 0.0 && !(1e-3..1e7).contains(&size) => format!("{number:.4e}"),
        size if size >= 1000.0 => format!("{number:.1}"),
        size if size >= 1.0 => format!("{number:.4}"),
        _ => format!("{number:.6}"),
    }
}
