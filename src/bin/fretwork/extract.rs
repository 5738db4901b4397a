//! `fretwork extract`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use fretwork::train::RunFolder;

use crate::options::Extract;
use crate::output::line;

/// Writes one of many networks as a run of its own, which can be evaluated, exported and resumed.
pub(crate) fn run(options: &Extract) -> Result<ExitCode> {
    if !options.input.names_network() {
        bail!("network: give the number of the network to extract, --network N");
    }
    RunFolder::expect_vacant(&options.out)?;
    let (_, checkpoint) = options.input.load()?;
    RunFolder::create(&options.out)?.save(&checkpoint)?;
    line(format!("{}: {}", options.out.display(), checkpoint.settings.model))?;
    Ok(ExitCode::SUCCESS)
}
