//! The command line.

mod bench;
mod data;
mod doctor;
mod experts;
mod network;
mod predict;
mod report;
mod sample;
mod topologies;
mod train;

use clap::{Parser, Subcommand};

pub(crate) use bench::{BenchOptions, BenchSubject};
pub(crate) use doctor::Doctor;
pub(crate) use network::{Float, Model};
pub(crate) use predict::{Evaluate, Predict};
pub(crate) use report::Report;
pub(crate) use sample::Sample;
pub(crate) use train::{Run, Train};

/// Training networks that are really sparse, on any GPU.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a block-sparse network.
    Train(Box<Train>),
    /// Evaluate a trained network on labelled rows: accuracy, loss, confusion, and metrics of each class, or the errors of a regression.
    Evaluate(Evaluate),
    /// Predict the rows of a file with a trained network, as CSV.
    Predict(Predict),
    /// Write an HTML page of a run: settings, learning curves, and patterns over time.
    Report(Report),
    /// Generate text with a language model.
    Sample(Sample),
    /// List adapters, and check the kernels on one of them.
    Doctor(Doctor),
    /// Check kernels and time them in interleaved rounds with their baselines and the device's ceilings.
    Bench(BenchOptions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Options;

    /// A heading that is not reset would also collect the options of the next group.
    #[test]
    fn every_option_of_train_stands_under_its_heading() {
        let command = Options::command();
        let train = command.find_subcommand("train").unwrap();
        let heading = |id: &str| {
            let argument = train.get_arguments().find(|argument| argument.get_id() == id).unwrap();
            argument.get_help_heading().unwrap_or_else(|| panic!("{id} has no heading"))
        };
        train.get_arguments().for_each(|argument| {
            heading(argument.get_id().as_str());
        });
        for (wanted, ids) in [
            ("Data", &["data", "rows", "test_rows", "label", "missing", "task"][..]),
            ("Network", &["model", "hidden", "dense", "sparsity", "seed"]),
            ("Precision", &["dtype", "stochastic_rounding", "loss_scale"]),
            ("Training", &["epochs", "steps", "batch", "optimizer", "lr", "schedule"]),
            ("Language models", &["context", "width", "heads", "depth"]),
            ("Mixtures of experts", &["experts", "gate", "capacity", "shared"]),
            ("Topologies", &["method", "update_every", "penalty", "scope", "prune_outgoing"]),
            ("Run", &["out", "resume", "stop_after", "adapter", "no_tune", "json"]),
        ] {
            ids.iter().for_each(|id| assert_eq!(heading(id), wanted, "{id}"));
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }
}
