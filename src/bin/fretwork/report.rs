//! `fretwork report`.

use std::process::ExitCode;

use anyhow::Result;
use fretwork::report::run as page;
use fretwork::train::RunFolder;

use crate::options::Report;
use crate::output::line;

pub(crate) fn run(options: &Report) -> Result<ExitCode> {
    let folder = RunFolder::inspect(&options.folder)?;
    let path = page::write(&folder, options.out.as_deref())?;
    line(path.display())?;
    Ok(ExitCode::SUCCESS)
}
