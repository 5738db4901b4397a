//! `train`: files that a run starts from.

use std::path::PathBuf;
use std::str::FromStr;

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
    /// Layers that stay dense, by name, as layers.0 or blocks.1.feed.up, or none. By default layers.0 of a perceptron of two hidden
    /// layers or more, where the inputs have fewer than ten columns of blocks and no file gives its pattern.
    #[arg(long, value_name = "LAYER,..|none")]
    pub(crate) keep_dense: Option<KeepDense>,
}

/// Layers that stay dense, by name; an empty list for `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeepDense(pub(crate) Vec<String>);

impl FromStr for KeepDense {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().find(|name| name.is_empty() || *name == "none") {
            Some(name) => {
                Err(format!("{name:?} is no layer; give names with commas between them, or none alone"))
            }
            None => Ok(Self(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_layers_or_none() {
        let parsed = |text: &str| text.parse::<KeepDense>().map(|KeepDense(names)| names.join(" "));
        assert_eq!(parsed("none").as_deref(), Ok(""));
        assert_eq!(parsed("layers.0, layers.2").as_deref(), Ok("layers.0 layers.2"));
        for (text, wanted) in
            [("none,layers.0", "\"none\" is no layer"), ("layers.0,", "\"\" is no layer"), ("", "\"\" is no")]
        {
            assert!(parsed(text).unwrap_err().starts_with(wanted), "{text}");
        }
    }
}
