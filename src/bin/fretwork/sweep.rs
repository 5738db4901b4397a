//! `fretwork sweep`: many perceptrons in one run.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;

use crate::effect::Given;
use crate::options::{Command, MOST_NETWORKS, Options, Sweep, Train};
use crate::train;

pub(crate) fn run(options: &Sweep, given: &Given) -> Result<ExitCode> {
    let count = options.networks.count();
    if count == 0 || count > MOST_NETWORKS {
        bail!("networks: {count} of these widths, activations and repetitions; must be 1 to {MOST_NETWORKS}");
    }
    train::run(&as_train(options), given)
}

/// The sweep as options of `train`, with the defaults of all that a sweep has not.
fn as_train(options: &Sweep) -> Train {
    let Sweep { data, networks, storage, steps, run } = options.clone();
    let defaults = Options::parse_from(["fretwork", "train"]);
    let Command::Train(mut train) = defaults.command else { unreachable!("the words are of train") };
    train.network.dense = true;
    train.network.seed = networks.seed;
    train.network.block = networks.block;
    Train { data, storage, steps, run, sweep: Some(networks), ..*train }
}
