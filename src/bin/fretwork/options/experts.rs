//! `train`: mixtures of experts.

use clap::Args;
use fretwork::nn::Overflow;
use fretwork::ops::gate::{Gate, Score, Weights};

#[derive(Debug, Args)]
#[command(next_help_heading = "Mixtures of experts")]
pub(crate) struct Moe {
    /// Number of experts with the hidden units of --hidden, or the hidden units of each, such as 64,64,128.
    #[arg(long, value_name = "N|UNITS,..", value_delimiter = ',', default_value = "8")]
    pub(crate) experts: Vec<usize>,
    /// softmax-top:K | sigmoid-top:K (both with :renormalised, the first with :chosen, either with :tile=N) | noisy-top:K |
    /// gshard | gshard:random | hash:K | expert-choice:FACTOR; by default softmax-top:2:renormalised, and softmax-top:1 for
    /// a single expert
    #[arg(long, value_name = "NAME:K")]
    pub(crate) gate: Option<Gate>,
    /// Coefficient of the auxiliary balance loss of GShard and Switch.
    #[arg(long, value_name = "COEFFICIENT", default_value_t = 0.01, allow_negative_numbers = true)]
    pub(crate) aux: f32,
    /// Coefficient of the importance loss.
    #[arg(long, value_name = "COEFFICIENT", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) importance: f32,
    /// Coefficient of the load loss, for noisy gates.
    #[arg(long, value_name = "COEFFICIENT", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) load: f32,
    /// Coefficient of the z-loss, which keeps router logits small.
    #[arg(long, value_name = "COEFFICIENT", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) z_loss: f32,
    /// Balance without a loss: change of each expert's bias in a step.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) bias_rate: f32,
    /// Capacity factor: most tokens of a window that an expert processes in training, as a multiple of an equal share, rounded
    /// up; 0 for no limit.
    #[arg(long, value_name = "FACTOR", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) capacity: f32,
    /// Tokens dropped past the capacity: position (the last) | probability (those of least weight)
    #[arg(long, value_name = "ORDER", default_value = "position")]
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
