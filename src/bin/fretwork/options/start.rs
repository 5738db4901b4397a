//! `train`: files that a run starts from.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Start")]
pub(crate) struct Start {
    /// Weights to start from, in place of drawn ones: a safetensors file, as `fretwork export` writes it. Of a dense weight, a
    /// sparse layer keeps the blocks of largest magnitude; of a block-sparse one, the pattern.
    #[arg(long, value_name = "FILE")]
    pub(crate) init_from: Option<PathBuf>,
    /// Patterns of all sparse layers, in place of drawn ones: a safetensors file with NAME.weight.crow_indices and .col_indices.
    #[arg(long, value_name = "FILE")]
    pub(crate) pattern: Option<PathBuf>,
    /// Layers that stay dense, by name: layers.0, or blocks.1.feed.up.
    #[arg(long, value_name = "LAYER,..", value_delimiter = ',')]
    pub(crate) keep_dense: Vec<String>,
}
