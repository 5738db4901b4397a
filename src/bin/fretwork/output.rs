//! Lines on the standard output, whose reader may close it early, as `head` does.

use std::fmt::Display;
use std::io::Write as _;

use anyhow::{Context as _, Result};

/// Writes a line. An error is returned where `println!` would panic on a closed pipe.
pub(crate) fn line(text: impl Display) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}
