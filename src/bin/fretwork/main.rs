//! The `fretwork` program.

mod begin;
mod bench;
mod characters;
mod doctor;
mod effect;
mod evaluate;
mod events;
mod examine;
mod export;
mod extract;
mod first_layer;
mod measure;
mod networks;
mod options;
mod output;
mod predict;
mod progress;
mod report;
mod sample;
mod settings;
mod sweep;
mod train;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use effect::Given;
use options::{Command, Options};

/// Exit code of an interrupted run, the shells' code for an interrupt.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let matches = Options::command().get_matches();
    let options = Options::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let given = Given::of(&matches);
    let result = match &options.command {
        Command::Train(train) => train::run(train, &given),
        Command::Sweep(sweep) => sweep::run(sweep, &given),
        Command::Extract(extract) => extract::run(extract),
        Command::Evaluate(evaluate) => evaluate::run(evaluate),
        Command::Predict(predict) => predict::run(predict),
        Command::Report(report) => report::run(report),
        Command::Export(export) => export::run(export),
        Command::Sample(sample) => sample::run(sample),
        Command::Doctor(doctor) => doctor::run(doctor),
        Command::Bench(bench) => bench::run(bench),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
