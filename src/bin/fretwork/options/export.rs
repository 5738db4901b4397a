//! `fretwork export`.

use std::path::PathBuf;

use clap::Args;
use fretwork::export::Format;

use super::trained::Trained;

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) input: Trained,
    /// onnx: a model that ONNX Runtime runs | safetensors-dense: dense weights by PyTorch's names | safetensors-bsr: block-sparse
    /// weights as SciPy's and PyTorch's BSR | torch: a state dict
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) to: Format,
    /// File to write; by default one in the run folder, named by the format.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
}
