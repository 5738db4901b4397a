//! `fretwork export`.

use std::process::ExitCode;

use anyhow::Result;
use fretwork::train::RunFolder;

use crate::options::Export;
use crate::output::line;

pub(crate) fn run(options: &Export) -> Result<ExitCode> {
    let folder = RunFolder::with_checkpoint(&options.folder)?;
    let path = fretwork::export::write(&folder, options.to, options.out.as_deref())?;
    line(path.display())?;
    Ok(ExitCode::SUCCESS)
}
