//! `fretwork export`.

use std::process::ExitCode;

use anyhow::Result;
use fretwork::train::write_whole;

use crate::options::Export;
use crate::output::line;

pub(crate) fn run(options: &Export) -> Result<ExitCode> {
    let (folder, checkpoint) = options.input.load()?;
    let path = folder.checkpoint_path();
    let bytes = fretwork::export::to_bytes(&checkpoint, &path, options.to)?;
    let out = options.out.clone().unwrap_or_else(|| path.with_file_name(options.to.file_name()));
    write_whole(&out, &bytes)?;
    line(out.display())?;
    Ok(ExitCode::SUCCESS)
}
