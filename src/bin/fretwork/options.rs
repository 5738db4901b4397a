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
    /// Write an HTML page of a run: settings, learning curves, and patterns over time.
    Report(Report),
    /// Generate text with a language model.
    Sample(Sample),
    /// List adapters, and check the kernels on one of them.
    Doctor(Doctor),
    /// Check kernels and time them in interleaved rounds with their baselines and the device's ceilings.
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

#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct Data {
    /// digits | fashion-mnist | mnist | idx:DIR | csv:FILE | text:FILE
    #[arg(long, default_value = "digits")]
    pub(crate) data: Source,
    /// Train on the first N rows.
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<usize>,
    /// Test on the first N rows.
    #[arg(long, value_name = "N")]
    pub(crate) test_rows: Option<usize>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// mlp | lm | moe-lm; by default a language model (lm) for a text, and a multi-layer perceptron (mlp) for other data.
    #[arg(long)]
    pub(crate) model: Option<Model>,
    /// Widths of the hidden layers, multiples of the block, by default 512,512. For language models: hidden units of each
    /// feed-forward network, by default four times the width, or of each expert, by default twice the width.
    #[arg(long, value_delimiter = ',')]
    pub(crate) hidden: Option<Vec<usize>>,
    /// Store every layer densely.
    #[arg(long)]
    pub(crate) dense: bool,
    /// Share of absent blocks, in [0, 1).
    #[arg(long, default_value_t = 0.9, allow_negative_numbers = true)]
    pub(crate) sparsity: f64,
    /// Block side: 8, 16, 32, 64 or 128. Input features are padded with zeros to a multiple of the side.
    #[arg(long, default_value_t = 16)]
    pub(crate) block: usize,
    /// Distribution of the present blocks over the layers: uniform | er | erk
    #[arg(long, default_value = "erk")]
    pub(crate) init: Density,
    /// relu | gelu | silu | all-relu:SLOPE
    #[arg(long, default_value = "relu")]
    pub(crate) activation: Activation,
    /// Share of hidden activations that are dropped in training.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) dropout: f32,
    /// Seed of patterns, weights, row order and dropout.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Precision")]
pub(crate) struct Storage {
    /// Type of stored activations and of the operands of products. Weights and optimizer state are always f32, and so are the
    /// values between the products of a language model.
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) dtype: Float,
    /// f16: round weights stochastically rather than to the nearest.
    #[arg(long)]
    pub(crate) stochastic_rounding: bool,
    /// f16: initial loss scale, a power of two.
    #[arg(long, default_value_t = 65536.0, allow_negative_numbers = true, value_name = "SCALE")]
    pub(crate) loss_scale: f32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct Steps {
    /// Epochs of the whole run, including those before a resume; by default 20 for the digits, 10 for a text, 5 for other data.
    #[arg(long, conflicts_with = "steps")]
    pub(crate) epochs: Option<u64>,
    /// Steps of the whole run, instead of epochs.
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Batch size: rows, by default 128, or windows of a text, by default 16; at most the number of training rows.
    #[arg(long)]
    pub(crate) batch: Option<usize>,
    /// Rows of one forward and backward pass: a step accumulates the gradients of several, in less memory.
    #[arg(long, value_name = "ROWS")]
    pub(crate) micro_batch: Option<usize>,
    /// Steps after which an epoch ends, even with rows unseen; 100 by default for a text.
    #[arg(long, value_name = "STEPS")]
    pub(crate) epoch_steps: Option<u64>,
    /// sgd (with Nesterov momentum) | adamw
    #[arg(long, default_value = "adamw")]
    pub(crate) optimizer: OptimizerKind,
    /// Peak learning rate; by default 0.004 for adamw, 0.1 for sgd.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,
    /// constant | cosine | one-cycle
    #[arg(long, default_value = "one-cycle")]
    pub(crate) schedule: Schedule,
    /// Momentum of SGD, or beta1 of AdamW.
    #[arg(long, default_value_t = 0.9, allow_negative_numbers = true)]
    pub(crate) momentum: f32,
    /// Decoupled weight decay; by default 0.01 for adamw, 0.0005 for sgd.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) weight_decay: Option<f32>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Topologies")]
pub(crate) struct Topologies {
    /// Method by which topologies evolve: static | set | set-published | importance | rigl | snfs | top-kast | ctre-seq | ctre-sim |
    /// sup-tickets | gap | scl | magnitude | early-crop | snip | synflow | sbp-sr
    #[arg(long, default_value = "static")]
    pub(crate) method: Kind,
    /// Interval between topology updates, in steps or `epoch`; by default as the method was published.
    #[arg(long, value_name = "STEPS|epoch")]
    pub(crate) update_every: Option<Every>,
    /// Share of the run before the first update.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) update_from: Option<f64>,
    /// Share of the run after which updates stop.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) update_until: Option<f64>,
    /// Share of a layer's blocks that the first update exchanges.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) update_fraction: Option<f64>,
    /// Decay of the exchanged share: constant | linear | cosine | exponential
    #[arg(long, value_name = "DECAY")]
    pub(crate) update_decay: Option<Decay>,
    /// Top-KAST: sparsity of the stored blocks, which receive gradients; by default twice as many as are active.
    #[arg(long, value_name = "SPARSITY", allow_negative_numbers = true)]
    pub(crate) backward_sparsity: Option<f64>,
    /// Top-KAST: decay of active blocks. SCL: cost of a connection.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) penalty: Option<f64>,
    /// Rows of a batch that score growth by gradients or activations; by default a sixteenth, limited by a binding.
    #[arg(long, value_name = "N")]
    pub(crate) score_rows: Option<usize>,
    /// Pruning methods: blocks compete across the network or within a layer: global | layer. A layer left empty is refused.
    #[arg(long, default_value = "global")]
    pub(crate) scope: Scope,
    /// Neuron-importance pruning: also prune outgoing weights.
    #[arg(long)]
    pub(crate) prune_outgoing: bool,
}

#[derive(Debug, Args)]
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

/// Type of stored floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Float {
    F32,
    F16,
}

/// Kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    Mlp,
    Lm,
    MoeLm,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Language models")]
pub(crate) struct Lm {
    /// Context length in characters.
    #[arg(long, default_value_t = 64)]
    pub(crate) context: usize,
    /// Width of the residual stream, a multiple of the block.
    #[arg(long, default_value_t = 128)]
    pub(crate) width: usize,
    /// Attention heads.
    #[arg(long, default_value_t = 4)]
    pub(crate) heads: usize,
    /// Transformer blocks, each attention and a feed-forward network.
    #[arg(long, default_value_t = 2)]
    pub(crate) depth: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Mixtures of experts")]
pub(crate) struct Moe {
    /// Number of experts with the hidden units of --hidden, or the hidden units of each, such as 64,64,128.
    #[arg(long, value_delimiter = ',', default_value = "8")]
    pub(crate) experts: Vec<usize>,
    /// softmax-top:K | sigmoid-top:K (both with :renormalised, the first with :chosen, either with :tile=N) | noisy-top:K |
    /// gshard | gshard:random | hash:K | expert-choice:FACTOR; by default softmax-top:2:renormalised, and softmax-top:1 for
    /// a single expert
    #[arg(long)]
    pub(crate) gate: Option<Gate>,
    /// Coefficient of the auxiliary balance loss of GShard and Switch.
    #[arg(long, default_value_t = 0.01, allow_negative_numbers = true)]
    pub(crate) aux: f32,
    /// Coefficient of the importance loss.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) importance: f32,
    /// Coefficient of the load loss, for noisy gates.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) load: f32,
    /// Coefficient of the z-loss, which keeps router logits small.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) z_loss: f32,
    /// Balance without a loss: change of each expert's bias in a step.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) bias_rate: f32,
    /// Capacity factor: most tokens of a window that an expert processes in training, as a multiple of an equal share, rounded
    /// up; 0 for no limit.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) capacity: f32,
    /// Tokens dropped past the capacity: position (the last) | probability (those of least weight)
    #[arg(long, default_value = "position")]
    pub(crate) overflow: Overflow,
    /// Gate the hidden units of experts (GLU).
    #[arg(long)]
    pub(crate) gated: bool,
    /// Hidden units of a shared expert that processes every token; 0 for none.
    #[arg(long, value_name = "UNITS", default_value_t = 0)]
    pub(crate) shared: usize,
}

impl Moe {
    /// Gate as given, or the default: top-2, and top-1 for a single expert.
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
    /// Run folder.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// File to write; by default report.html in the run folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Sample {
    /// Run folder of a language model.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Beginning of the text.
    #[arg(long, default_value = "\n")]
    pub(crate) prompt: String,
    /// Characters to generate.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) length: usize,
    /// Softmax temperature: below 1 likely characters become likelier, above 1 less likely.
    #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
    pub(crate) temperature: f32,
    /// Seed of the draws.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Adapter to use: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Adapter to check: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
    /// Check only the kernels of runs with default options; the default on software drivers, which compile for minutes.
    #[arg(long, conflicts_with = "all")]
    pub(crate) quick: bool,
    /// Check every kernel; the default on GPUs.
    #[arg(long)]
    pub(crate) all: bool,
    /// Check only kernels whose name contains TEXT.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// List the adapters only; fails if there is none.
    #[arg(long, conflicts_with_all = ["adapter", "only"])]
    pub(crate) adapters: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Subject to time.
    #[arg(value_enum, default_value = "all")]
    pub(crate) what: What,
    /// Adapter to use: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
    /// Type of the operands of products, steps and updates; experts are timed in f32.
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) dtype: Float,
    /// Rows of the layer whose products are timed, a multiple of 16; by default a number that suits the device.
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<usize>,
    /// Hidden layers of the network whose steps are timed, multiples of 16.
    #[arg(long, value_delimiter = ',', value_name = "N,N,..")]
    pub(crate) hidden: Option<Vec<usize>>,
    /// Batch size of the network whose steps are timed.
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// Print one JSON object of all measurements, raw times included, instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write an HTML page with a roofline and speed-ups over density.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Dense products compared with the naive (shared-memory) tile.
    Matmul,
    /// The three products of a layer, block-sparse compared with dense, over densities and block sides.
    Sparse,
    /// Training step, sparse compared with dense, and its cost on the host.
    Step,
    /// Topology updates, and the steps between them.
    Update,
    /// Mixture of experts compared with dense layers.
    Moe,
    /// All subjects.
    All,
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
