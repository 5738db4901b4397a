//! `fretwork bench`.

use std::process::ExitCode;

use anyhow::Result;

use crate::measure;
use crate::options::BenchOptions;
use crate::output::line;

pub(crate) fn run(options: &BenchOptions) -> Result<ExitCode> {
    let tables = &mut |text: String| if options.json { Ok(()) } else { line(text) };
    let report = measure::run(options, None, tables)?;
    if options.json {
        line(format!("{:#}", report.to_json()))?;
    }
    Ok(ExitCode::SUCCESS)
}
