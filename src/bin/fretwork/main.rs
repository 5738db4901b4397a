//! The `fretwork` program.

mod bench;
mod doctor;
mod options;
mod output;
mod report;
mod sample;
mod train;

use std::process::ExitCode;

use clap::Parser as _;

use options::{Command, Options};

/// What a run that was interrupted exits with, as shells do for an interrupt.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.command {
        Command::Train(train) => train::run(train),
        Command::Report(report) => report::run(report),
        Command::Sample(sample) => sample::run(sample),
        Command::Doctor(doctor) => doctor::run(doctor),
        Command::Bench(bench) => bench::run(bench),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
