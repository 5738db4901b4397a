//! Formats of exports, by name.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// An ONNX model, which ONNX Runtime runs.
    #[cfg(feature = "onnx")]
    Onnx,
    /// safetensors of dense weights `[out, in]` under PyTorch's names.
    SafetensorsDense,
    /// safetensors of block-sparse weights by their parts, as of PyTorch's BSR tensors and SciPy's `bsr_matrix`.
    SafetensorsBsr,
    /// safetensors of a state dict that PyTorch's modules load.
    Torch,
}

impl Format {
    /// All formats.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "onnx")]
        Self::Onnx,
        Self::SafetensorsDense,
        Self::SafetensorsBsr,
        Self::Torch,
    ];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx => "onnx",
            Self::SafetensorsDense => "safetensors-dense",
            Self::SafetensorsBsr => "safetensors-bsr",
            Self::Torch => "torch",
        }
    }

    /// Name of the file that is written where none is given.
    pub fn file_name(self) -> &'static str {
        match self {
            #[cfg(feature = "onnx")]
            Self::Onnx => "model.onnx",
            Self::SafetensorsDense => "dense.safetensors",
            Self::SafetensorsBsr => "bsr.safetensors",
            Self::Torch => "torch.safetensors",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|format| format.name() == text).ok_or_else(|| {
            let names = Self::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
            Error::Config { option: "to", reason: format!("{text:?} is none of {names}") }
        })
    }
}
