//! `fretwork export`.

use std::process::ExitCode;

use anyhow::Result;

use crate::options::Export;
use crate::output::line;

pub(crate) fn run(options: &Export) -> Result<ExitCode> {
    let folder = options.input.open()?;
    let path = fretwork::export::write(&folder, options.to, options.out.as_deref())?;
    line(path.display())?;
    Ok(ExitCode::SUCCESS)
}
