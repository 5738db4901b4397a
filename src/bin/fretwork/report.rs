//! `fretwork report`.

use std::process::ExitCode;

use anyhow::Result;
use fretwork::train::{RunFolder, report};

use crate::options::Report;
use crate::output::line;

pub(crate) fn run(options: &Report) -> Result<ExitCode> {
    let folder = RunFolder::inspect(&options.folder)?;
    let page = report::write(&folder, options.out.as_deref())?;
    line(page.display())?;
    Ok(ExitCode::SUCCESS)
}
