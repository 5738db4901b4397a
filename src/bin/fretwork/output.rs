//! Standard output, which may be gone: a reader such as `head` leaves when it has seen enough.

use std::fmt::Display;
use std::io::Write as _;

use anyhow::{Context as _, Result};

/// Writes a line. `println!` would panic where nobody reads.
pub(crate) fn line(text: impl Display) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}
