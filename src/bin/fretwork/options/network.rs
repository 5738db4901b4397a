//! `train`: network and precision.

use clap::{Args, ValueEnum};
use fretwork::nn::Local;
use fretwork::ops::Activation;
use fretwork::sparse::Density;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Kind of network; by default a language model (lm) for a text, and a multi-layer perceptron (mlp) for other data.
    #[arg(long, value_name = "KIND")]
    pub(crate) model: Option<Model>,
    /// Widths of the hidden layers, padded inside to multiples of the block, by default 512,512. For language models: hidden units of each
    /// feed-forward network, by default four times the width, or of each expert, by default twice the width.
    #[arg(long, value_name = "UNITS,..", value_delimiter = ',')]
    pub(crate) hidden: Option<Vec<usize>>,
    /// Store every layer densely.
    #[arg(long)]
    pub(crate) dense: bool,
    /// Share of absent blocks in the layers that are not dense, in [0, 1).
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, allow_negative_numbers = true)]
    pub(crate) sparsity: f64,
    /// Block side: 8, 16, 32, 64 or 128. Input features are padded with zeros to a multiple of the side.
    #[arg(long, value_name = "SIDE", default_value_t = 16)]
    pub(crate) block: usize,
    /// Distribution of the present blocks over the layers: uniform | er | erk
    #[arg(long, value_name = "DENSITIES", default_value = "erk")]
    pub(crate) init: Density,
    /// relu | gelu | silu | all-relu:SLOPE
    #[arg(long, value_name = "FUNCTION", default_value = "relu")]
    pub(crate) activation: Activation,
    /// Share of hidden activations that are dropped in training.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) dropout: f32,
    /// greedy | overlapping | chunked:PARTS: cut the hidden layers into parts that learn from losses of their own, in less memory: each
    /// layer by itself, each with the layer before, or so many parts of near-equal numbers of layers.
    #[arg(long, value_name = "PARTS")]
    pub(crate) local: Option<Local>,
    /// Seed of patterns, weights, row order and dropout.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seed of the split and the order of rows; by default --seed.
    #[arg(long, value_name = "N")]
    pub(crate) rows_seed: Option<u64>,
}

/// Kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    Mlp,
    Lm,
    MoeLm,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Precision")]
pub(crate) struct Storage {
    /// Type of stored activations and of the operands of products. Weights and optimizer state are always f32, and so are the
    /// values between the products of a language model.
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    pub(crate) dtype: Float,
    /// f16: round weights stochastically rather than to the nearest.
    #[arg(long)]
    pub(crate) stochastic_rounding: bool,
    /// f16: initial loss scale, a power of two.
    #[arg(long, default_value_t = 65536.0, allow_negative_numbers = true, value_name = "SCALE")]
    pub(crate) loss_scale: f32,
}

/// Type of stored floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Float {
    F32,
    F16,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Language models")]
pub(crate) struct Lm {
    /// Context length in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub(crate) context: usize,
    /// Width of the residual stream, a multiple of the block.
    #[arg(long, value_name = "UNITS", default_value_t = 128)]
    pub(crate) width: usize,
    /// Attention heads.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) heads: usize,
    /// Transformer blocks, each attention and a feed-forward network.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) depth: usize,
}
