//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fretwork::data::Source;
use fretwork::methods::{Decay, Every, Kind, Scope};
use fretwork::nn::Overflow;
use fretwork::ops::Activation;
use fretwork::ops::gate::{Gate, Score, Weights};
use fretwork::sparse::Density;
use fretwork::train::{OptimizerKind, Schedule};

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
    /// Show a run as one HTML page: settings, curves, and how patterns changed.
    Report(Report),
    /// Let a language model go on with a text.
    Sample(Sample),
    /// List adapters, and check every kernel on one of them.
    Doctor(Doctor),
    /// Check kernels and time them against their rivals and against what the device can do at most, in one run.
    Bench(BenchOptions),
}

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
    pub(crate) run: Run,
}

impl Train {
    /// The kind of network: the one that is asked for, or the one that suits the data.
    pub(crate) fn model(&self) -> Model {
        let text = matches!(self.data.data, Source::Text(_));
        self.network.model.unwrap_or(if text { Model::Lm } else { Model::Mlp })
    }

    /// The method.
    pub(crate) fn kind(&self) -> Kind {
        self.topologies.method
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct Data {
    /// digits | fashion-mnist | mnist | idx:DIR | csv:FILE | text:FILE
    #[arg(long, default_value = "digits")]
    pub(crate) data: Source,
    /// Train on so many rows, the first.
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<usize>,
    /// Test on so many rows, the first.
    #[arg(long, value_name = "N")]
    pub(crate) test_rows: Option<usize>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// mlp | lm | moe-lm; by default a language model for a text, and a multi-layer perceptron for what else there is.
    #[arg(long)]
    pub(crate) model: Option<Model>,
    /// Widths of the hidden layers, multiples of the block, by default 512,512; of a language model the hidden units of a
    /// feed-forward network, by default four times its width, or of an expert, by default twice its width.
    #[arg(long, value_delimiter = ',')]
    pub(crate) hidden: Option<Vec<usize>>,
    /// Store every layer densely.
    #[arg(long)]
    pub(crate) dense: bool,
    /// The share of blocks that are absent, in [0, 1).
    #[arg(long, default_value_t = 0.9, allow_negative_numbers = true)]
    pub(crate) sparsity: f64,
    /// The side of a block: 8, 16, 32, 64 or 128. Input features are padded with zeros to a multiple of it.
    #[arg(long, default_value_t = 16)]
    pub(crate) block: usize,
    /// How present blocks are shared out among layers: uniform | er | erk
    #[arg(long, default_value = "erk")]
    pub(crate) init: Density,
    /// relu | gelu | silu | all-relu:SLOPE
    #[arg(long, default_value = "relu")]
    pub(crate) activation: Activation,
    /// The share of hidden activations that is dropped in training.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) dropout: f32,
    /// Where patterns, weights, order and dropout come from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Precision")]
pub(crate) struct Storage {
    /// What activations and the operands of products are stored as; weights and the optimizer's state are f32 in any case,
    /// and so is what stands between the products of a language model.
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) dtype: Float,
    /// f16: weights are rounded up or down by chance, rather than to the nearest.
    #[arg(long)]
    pub(crate) stochastic_rounding: bool,
    /// f16: what gradients are multiplied by at first, a power of two.
    #[arg(long, default_value_t = 65536.0, allow_negative_numbers = true, value_name = "SCALE")]
    pub(crate) loss_scale: f32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct Steps {
    /// Times through the training rows, those of a resumed run included; by default 20 for the digits, 10 for a text, 5 for
    /// others.
    #[arg(long, conflicts_with = "steps")]
    pub(crate) epochs: Option<u64>,
    /// Steps, instead of epochs.
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Rows of a step, by default 128; windows of a text, by default 16. No more than there are to train on.
    #[arg(long)]
    pub(crate) batch: Option<usize>,
    /// End an epoch after so many steps, though it has not seen every row; of a text, by default, after 100.
    #[arg(long, value_name = "STEPS")]
    pub(crate) epoch_steps: Option<u64>,
    /// sgd (with Nesterov momentum) | adamw
    #[arg(long, default_value = "adamw")]
    pub(crate) optimizer: OptimizerKind,
    /// The full learning rate; by default 0.004 for adamw, 0.1 for sgd.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,
    /// constant | cosine | one-cycle
    #[arg(long, default_value = "one-cycle")]
    pub(crate) schedule: Schedule,
    /// SGD's momentum, AdamW's first beta.
    #[arg(long, default_value_t = 0.9, allow_negative_numbers = true)]
    pub(crate) momentum: f32,
    /// Decoupled weight decay; by default 0.01 for adamw, 0.0005 for sgd.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) weight_decay: Option<f32>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Topologies")]
pub(crate) struct Topologies {
    /// How topologies evolve: static | set | set-published | importance | rigl | snfs | top-kast | ctre-seq | ctre-sim |
    /// sup-tickets | gap | scl | magnitude | early-crop | snip | synflow | sbp-sr
    #[arg(long, default_value = "static")]
    pub(crate) method: Kind,
    /// Steps from one update of the topologies to the next, or epoch; by default as the method was published.
    #[arg(long, value_name = "STEPS|epoch")]
    pub(crate) update_every: Option<Every>,
    /// The share of the run before the first update.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) update_from: Option<f64>,
    /// The share of the run after which there is no update.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) update_until: Option<f64>,
    /// The share of a layer's blocks that the first update exchanges.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) update_fraction: Option<f64>,
    /// How that share falls: constant | linear | cosine | exponential
    #[arg(long, value_name = "DECAY")]
    pub(crate) update_decay: Option<Decay>,
    /// Top-KAST: the sparsity of what is stored and receives gradients; by default twice as many blocks as are present.
    #[arg(long, value_name = "SPARSITY", allow_negative_numbers = true)]
    pub(crate) backward_sparsity: Option<f64>,
    /// Top-KAST's decay of present blocks; SCL's cost of a connection.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) penalty: Option<f64>,
    /// How many rows of a batch growth is scored by, where gradients or activations decide; by default a sixteenth, or what
    /// fits a binding.
    #[arg(long, value_name = "N")]
    pub(crate) score_rows: Option<usize>,
    /// Methods that prune: whose blocks compete, global | layer. The first may empty a layer, which is refused.
    #[arg(long, default_value = "global")]
    pub(crate) scope: Scope,
    /// Neuron-importance pruning: outgoing weights are lost too.
    #[arg(long)]
    pub(crate) prune_outgoing: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct Run {
    /// The run folder: checkpoint and log. Without it nothing is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with the run in this folder. Its own settings hold; --epochs or --steps make it longer, and other options that
    /// determine a run are refused.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub(crate) resume: Option<PathBuf>,
    /// Stop after so many steps of this process, as if interrupted; --resume goes on.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) stop_after: Option<u64>,
    /// The adapter to use: its index in the list of `doctor --adapters`, or its name or a part of it.
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
    /// Measure no kernels, and use none of the choices on disk; FRETWORK_TUNE=off does the same. Results are the same either
    /// way.
    #[arg(long)]
    pub(crate) no_tune: bool,
    /// One JSON object a line instead of a progress bar.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How floats are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Float {
    F32,
    F16,
}

/// What kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    Mlp,
    Lm,
    MoeLm,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Language models")]
pub(crate) struct Lm {
    /// Characters that the model sees at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) context: usize,
    /// The width of the residual stream, a multiple of the block.
    #[arg(long, default_value_t = 128)]
    pub(crate) width: usize,
    /// Heads of attention.
    #[arg(long, default_value_t = 4)]
    pub(crate) heads: usize,
    /// Blocks of attention and feed-forward network.
    #[arg(long, default_value_t = 2)]
    pub(crate) depth: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Mixtures of experts")]
pub(crate) struct Moe {
    /// Experts: so many of the hidden units that --hidden says, or the hidden units of each, such as 64,64,128.
    #[arg(long, value_delimiter = ',', default_value = "8")]
    pub(crate) experts: Vec<usize>,
    /// softmax-top:K | sigmoid-top:K (both with :renormalised, the first with :chosen, either with :tile=N) | noisy-top:K |
    /// gshard | gshard:random | hash:K | expert-choice:FACTOR; by default softmax-top:2:renormalised, and softmax-top:1 of a
    /// single expert
    #[arg(long)]
    pub(crate) gate: Option<Gate>,
    /// Balance by GShard's and Switch's auxiliary loss, with this coefficient.
    #[arg(long, default_value_t = 0.01, allow_negative_numbers = true)]
    pub(crate) aux: f32,
    /// Balance by the importance of experts, with this coefficient.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) importance: f32,
    /// Balance by the load of experts, for noisy gates, with this coefficient.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) load: f32,
    /// Keep the router's logits small, with this coefficient.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) z_loss: f32,
    /// Balance without a loss: how far a step moves each expert's bias.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) bias_rate: f32,
    /// How many times its share in balance of a window's tokens an expert takes in training, rounded up; 0 for no limit.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) capacity: f32,
    /// Which tokens are dropped beyond the capacity: position (the last) | probability (those of the least weight)
    #[arg(long, default_value = "position")]
    pub(crate) overflow: Overflow,
    /// Experts whose hidden units are gated (GLU).
    #[arg(long)]
    pub(crate) gated: bool,
    /// Hidden units of an expert that every token goes to.
    #[arg(long, value_name = "UNITS", default_value_t = 0)]
    pub(crate) shared: usize,
}

impl Moe {
    /// The gate that was given, or one that fits: a single expert leaves no second choice.
    pub(crate) fn gate(&self) -> Gate {
        let (k, weights) = match self.experts[..] {
            [1] => (1, Weights::Probs),
            _ => (2, Weights::Renormalised),
        };
        self.gate.unwrap_or(Gate::TopK { k, score: Score::Softmax, weights, tile: None })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The run folder.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Where the page goes; by default report.html in the run folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Sample {
    /// The run folder of a language model.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// What the text begins with.
    #[arg(long, default_value = "\n")]
    pub(crate) prompt: String,
    /// Characters to add.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) length: usize,
    /// Below 1 likely characters become likelier, above 1 less so.
    #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
    pub(crate) temperature: f32,
    /// Where the draws come from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The adapter to use: its index in the list of `doctor --adapters`, or its name or a part of it.
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The adapter to check: its index in the list of `doctor --adapters`, or its name or a part of it.
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
    /// Check what a run uses where it is told nothing else; the default on drivers of a CPU, which compile for minutes.
    #[arg(long, conflicts_with = "all")]
    pub(crate) quick: bool,
    /// Check every kernel; the default on GPUs.
    #[arg(long)]
    pub(crate) all: bool,
    /// Of these, check only kernels whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Only list the adapters; fails if there is none.
    #[arg(long, conflicts_with_all = ["adapter", "only"])]
    pub(crate) adapters: bool,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// What to time.
    #[arg(value_enum, default_value = "all")]
    pub(crate) what: What,
    /// The adapter to use: its index in the list of `doctor --adapters`, or its name or a part of it.
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
    /// What operands are stored in, of products, steps and updates; experts are timed in f32.
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) dtype: Float,
    /// Rows of the layer whose products are timed, a multiple of 16; by default as many as suit the device.
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<usize>,
    /// Hidden layers of the network whose steps are timed, multiples of 16.
    #[arg(long, value_delimiter = ',', value_name = "N,N,..")]
    pub(crate) hidden: Option<Vec<usize>>,
    /// Rows of its batches.
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// One JSON object of everything that was measured, raw times included, in the place of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also draw it: one page, a roofline and speed-ups over density.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Dense matmul against the naive shared-memory tile.
    Matmul,
    /// A layer's three products, block-sparse against dense, over densities and blocks.
    Sparse,
    /// A training step, sparse against dense, and what it costs the host.
    Step,
    /// What it costs to change topologies, and what a changed one costs.
    Update,
    /// A mixture of experts against dense layers.
    Moe,
    /// All of it.
    All,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Options;

    /// A heading that a group of options leaves behind would gather those that follow.
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
            ("Data", &["data", "rows", "test_rows"][..]),
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
