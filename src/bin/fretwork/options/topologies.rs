//! `train`: evolution of topologies.

use clap::Args;
use fretwork::methods::{Decay, Every, Kind, Scope};

#[derive(Debug, Args)]
#[command(next_help_heading = "Topologies")]
pub(crate) struct Topologies {
    /// Method by which topologies evolve: static | set | set-published | importance | rigl | snfs | top-kast | ctre-seq | ctre-sim |
    /// sup-tickets | gap | scl | magnitude | early-crop | snip | synflow | sbp-sr
    #[arg(long, value_name = "NAME", default_value = "static")]
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
    #[arg(long, value_name = "COEFFICIENT", allow_negative_numbers = true)]
    pub(crate) penalty: Option<f64>,
    /// Rows of a batch that score growth by gradients or activations; by default a sixteenth, limited by a binding.
    #[arg(long, value_name = "N")]
    pub(crate) score_rows: Option<usize>,
    /// Pruning methods: blocks compete across the network or within a layer: global | layer. A layer left empty is refused.
    #[arg(long, value_name = "global|layer", default_value = "global")]
    pub(crate) scope: Scope,
    /// Neuron-importance pruning: also prune outgoing weights.
    #[arg(long)]
    pub(crate) prune_outgoing: bool,
}
