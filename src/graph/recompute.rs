//! Choice of what the backward pass computes once more.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// What the backward pass computes once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recompute {
    /// Segments of as many parts as take the least memory.
    Segments,
    /// Every part by itself: each block of a language model, say. The least time.
    All,
}

impl fmt::Display for Recompute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segments => "segments",
            Self::All => "all",
        })
    }
}

impl FromStr for Recompute {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "segments" => Ok(Self::Segments),
            "all" => Ok(Self::All),
            _ => Err(Error::Config { option: "recompute", reason: format!("segments or all, not {text:?}") }),
        }
    }
}
