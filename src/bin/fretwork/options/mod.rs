//! The command line.

mod bench;
mod data;
mod doctor;
mod experts;
mod export;
mod extract;
mod network;
mod networks;
mod predict;
mod report;
mod sample;
mod start;
mod sweep;
mod tasks;
mod together;
mod topologies;
mod train;
mod trained;

use clap::{Parser, Subcommand};

pub(crate) use bench::{BenchOptions, BenchSubject};
pub(crate) use doctor::Doctor;
pub(crate) use export::Export;
pub(crate) use extract::Extract;
pub(crate) use network::{Float, Model};
pub(crate) use predict::{Evaluate, Predict};
pub(crate) use report::Report;
pub(crate) use sample::Sample;
pub(crate) use sweep::Sweep;
pub(crate) use together::MOST_NETWORKS;
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
    /// Train many small perceptrons at once, of all given widths and activations, and rank them.
    Sweep(Box<Sweep>),
    /// Evaluate a trained network on labelled rows: accuracy, loss, confusion, and metrics of each class, or the errors of a regression.
    Evaluate(Evaluate),
    /// Predict the rows of a file with a trained network, as CSV.
    Predict(Predict),
    /// Write an HTML page of a run: settings, learning curves, and patterns over time.
    Report(Report),
    /// Write one of many networks that were trained together as a run of its own.
    Extract(Extract),
    /// Write the network of a run in a format that other programs read.
    Export(Export),
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
    fn options_stand_under_their_headings() {
        let command = Options::command();
        let heading = |command_name: &str, id: &str| {
            let command = command.find_subcommand(command_name).unwrap();
            let argument = command.get_arguments().find(|argument| argument.get_id() == id).unwrap();
            argument.get_help_heading().unwrap_or_else(|| panic!("{id} has no heading"))
        };
        for (wanted, ids) in [
            (
                "Data",
                &[
                    "data",
                    "rows",
                    "test_rows",
                    "label",
                    "missing",
                    "task",
                    "image_size",
                    "gray",
                    "validation",
                ][..],
            ),
            ("Network", &["model", "hidden", "dense", "sparsity", "seed"]),
            ("Precision", &["dtype", "stochastic_rounding", "loss_scale"]),
            ("Training", &["epochs", "steps", "batch", "patience", "optimizer", "lr", "schedule"]),
            (
                "Several networks",
                &["ensemble", "codistill", "weight", "burn_in", "exchange_every", "disjoint"],
            ),
            ("Language models", &["context", "width", "heads", "depth"]),
            ("Mixtures of experts", &["experts", "gate", "capacity", "shared"]),
            ("Topologies", &["method", "update_every", "penalty", "scope", "prune_outgoing"]),
            ("Start", &["init_from", "pattern", "keep_dense"]),
            ("Run", &["out", "resume", "stop_after", "adapter", "no_tune", "json"]),
        ] {
            ids.iter().for_each(|id| assert_eq!(heading("train", id), wanted, "{id}"));
        }
        for (id, wanted) in
            [("folder", "Input"), ("best", "Input"), ("prompt", "Text"), ("adapter", "Device")]
        {
            assert_eq!(heading("sample", id), wanted, "{id}");
        }
    }

    /// Each argument of each command says what it is, under a heading. `help` and `version` are clap's own.
    #[test]
    fn every_argument_has_a_help_and_a_heading() {
        let mut seen = 0;
        for command in Options::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
            for argument in command.get_arguments() {
                let place = format!("{} {}", command.get_name(), argument.get_id());
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.len() > 10, "{place} has no help: {help:?}");
                assert!(argument.get_help_heading().is_some(), "{place} has no heading");
                // The default is the option's own name, which says nothing of the value.
                let unnamed = argument.get_id().as_str().to_uppercase();
                let value = argument.get_value_names().unwrap_or_default();
                let takes_value = argument.get_action().takes_values();
                assert!(
                    argument.is_positional()
                        || !takes_value
                        || value.iter().any(|name| *name.as_str() != *unnamed),
                    "{place} does not name its value"
                );
                seen += 1;
            }
        }
        assert!(seen > 80, "only {seen} arguments were seen");
    }

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }
}
