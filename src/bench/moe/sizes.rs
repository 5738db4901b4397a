//! Sizes of the mixture of experts that is timed.

use crate::gpu::Gpu;
use crate::nn::{MoeConfig, Overflow};
use crate::ops::gate::{Balance, Gate, Score, Weights};
use crate::{Error, Result};

/// Sizes of a mixture of experts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoeSizes {
    /// Number of experts.
    pub experts: usize,
    /// Experts per token, the k of top-k.
    pub choices: usize,
    /// Columns of input and output.
    pub width: usize,
    /// Hidden units of each expert.
    pub hidden: usize,
    /// Block side.
    pub block: usize,
}

impl MoeSizes {
    /// Top-2 of eight experts, with widths that suit the device.
    pub fn of(gpu: &Gpu) -> Self {
        let [width, hidden] = if gpu.is_software() { [512, 512] } else { [1024, 2048] };
        Self { experts: 8, choices: 2, width, hidden, block: 16 }
    }

    /// Tokens of a batch with a mean of `rows` rows an expert.
    ///
    /// # Errors
    /// [`Error::Config`] if no batch has that mean, or the top-k or the width does not suit the number of experts.
    pub(super) fn tokens(&self, rows: usize) -> Result<usize> {
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        if self.choices == 0 || self.choices > self.experts {
            return bad(
                "choices",
                format!(
                    "a token takes {} of {} experts; choose 1 to {}",
                    self.choices, self.experts, self.experts
                ),
            );
        }
        if self.width < self.experts {
            return bad(
                "width",
                format!("{} columns are fewer than the {} experts", self.width, self.experts),
            );
        }
        if self.block == 0 || !self.hidden.is_multiple_of(self.block) {
            // The reference on the host reads weights without padding.
            return bad(
                "hidden",
                format!("{} units are no multiple of the block, {}", self.hidden, self.block),
            );
        }
        match self.experts.checked_mul(rows) {
            Some(all) if all > 0 && all.is_multiple_of(self.choices) => Ok(all / self.choices),
            _ => bad(
                "rows",
                format!(
                    "{} experts with {rows} rows each do not divide into tokens of {} rows",
                    self.experts, self.choices
                ),
            ),
        }
    }

    /// Configuration of the layer: softmax top-k with renormalised weights, unlimited capacity.
    pub(super) fn config(&self) -> MoeConfig {
        let (k, score, weights) = (self.choices, Score::Softmax, Weights::Renormalised);
        MoeConfig {
            experts: vec![self.hidden; self.experts],
            gate: Gate::TopK { k, score, weights, tile: None },
            balance: Balance { aux: 0.01, ..Balance::default() },
            bias_rate: 0.0,
            capacity: 0.0,
            overflow: Overflow::Position,
            gated: false,
            shared: 0,
        }
    }
}
