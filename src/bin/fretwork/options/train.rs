//! `fretwork train`.

use std::path::PathBuf;

use clap::Args;
use fretwork::data::Source;
use fretwork::graph::Recompute;
use fretwork::methods::Kind;
use fretwork::train::{OptimizerKind, Schedule};

use super::data::Data;
use super::experts::Moe;
use super::network::{Lm, Model, Network, Storage};
use super::networks::Networks;
use super::start::Start;
use super::tasks::TaskOptions;
use super::together::SeveralNetworks;
use super::topologies::Topologies;

#[derive(Debug, Args)]
pub(crate) struct Train {
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) storage: Storage,
    #[command(flatten)]
    pub(crate) steps: Steps,
    #[command(flatten)]
    pub(crate) lm: Lm,
    #[command(flatten)]
    pub(crate) moe: Moe,
    #[command(flatten)]
    pub(crate) topologies: Topologies,
    #[command(flatten)]
    pub(crate) start: Start,
    #[command(flatten)]
    pub(crate) several: SeveralNetworks,
    #[command(flatten)]
    pub(crate) continual: TaskOptions,
    #[command(flatten)]
    pub(crate) run: Run,
    /// Networks in the place of one, in a sweep.
    #[arg(skip)]
    pub(crate) sweep: Option<Networks>,
}

impl Train {
    /// Kind of network: as given, or by the kind of data.
    pub(crate) fn model(&self) -> Model {
        let text = matches!(self.data.data, Source::Text(_));
        self.network.model.unwrap_or(if text { Model::Lm } else { Model::Mlp })
    }

    /// Method by which topologies evolve.
    pub(crate) fn kind(&self) -> Kind {
        self.topologies.method
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct Steps {
    /// Epochs of the whole run, including those before a resume; by default 20 for the digits, 10 for a text, as many as make
    /// 1,000 steps of 128 rows for a table, within 5 and 200, and 5 for other data.
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub(crate) epochs: Option<u64>,
    /// Steps of the whole run, instead of epochs.
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u64>,
    /// Batch size: rows, by default 128, or windows of a text, by default 16; at most the number of training rows.
    #[arg(long, value_name = "ROWS")]
    pub(crate) batch: Option<usize>,
    /// Forward and backward passes of a step, which accumulates their gradients, in less memory: of equal rows, but for the last,
    /// which may have fewer.
    #[arg(long, value_name = "N")]
    pub(crate) micro_batches: Option<usize>,
    /// segments | all: compute values of the forward pass once more in the backward pass, in place of keeping them: in segments
    /// that take the least memory, or each part between two single values by itself, in the least time. Bits stay the same.
    #[arg(long, value_name = "WHAT")]
    pub(crate) recompute: Option<Recompute>,
    /// Steps after which an epoch ends, even with rows unseen; 100 by default for a text.
    #[arg(long, value_name = "STEPS")]
    pub(crate) epoch_steps: Option<u64>,
    /// End the run after so many epochs in which the validation loss did not fall; needs --validation.
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) patience: Option<u64>,
    /// sgd (with Nesterov momentum) | adamw | lars | lamb; by default adamw, and sgd with --basis.
    #[arg(long, value_name = "NAME")]
    pub(crate) optimizer: Option<OptimizerKind>,
    /// Train the coordinates of a random base of so many directions by plain SGD; directions are generated and never stored.
    #[arg(long, value_name = "DIRECTIONS")]
    pub(crate) basis: Option<usize>,
    /// Draw other directions in every step, instead of one base for the whole run.
    #[arg(long)]
    pub(crate) redraw: bool,
    /// Give each parameter a base of its own, of as many directions.
    #[arg(long)]
    pub(crate) per_layer: bool,
    /// Peak learning rate; by default 0.004 for adamw, 0.1 for sgd, 4 for lars, 0.02 for lamb, and 20 with --basis.
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,
    /// constant | cosine | one-cycle; by default one-cycle, or cosine with --warmup.
    #[arg(long, value_name = "NAME")]
    pub(crate) schedule: Option<Schedule>,
    /// First steps, over which the learning rate rises linearly from 1/STEPS of the peak to the peak; the schedule, constant or cosine,
    /// begins after them.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) warmup: Option<u64>,
    /// Momentum of SGD and LARS, or beta1 of AdamW and LAMB; by default 0.9.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) momentum: Option<f32>,
    /// Weight decay, decoupled but for lars and lamb; by default 0.01 for adamw and lamb, 0.0005 for sgd and lars.
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub(crate) weight_decay: Option<f32>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct Run {
    /// Run folder for checkpoint and log. Without one, nothing is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Resume the run in this folder with its own settings. --epochs and --steps extend the run; other options that determine a
    /// run are refused.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub(crate) resume: Option<PathBuf>,
    /// Stop this process after so many steps, as if interrupted; --resume continues the run.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) stop_after: Option<u64>,
    /// Adapter to use: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
    /// Measure no kernels and use none of the choices on disk, as does FRETWORK_TUNE=off. Results are bit-identical either way.
    #[arg(long)]
    pub(crate) no_tune: bool,
    /// Print one JSON object a line instead of a progress bar.
    #[arg(long)]
    pub(crate) json: bool,
}
