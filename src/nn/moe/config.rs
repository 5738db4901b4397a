//! What mixture of experts to make.

use std::fmt;
use std::str::FromStr;

use crate::nn::{FeedForward, LayerShape};
use crate::ops::gate::{Balance, Gate};
use crate::{Error, Result};

/// Who is dropped where an expert has no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// Those that come last: all first choices come before all second ones, and tokens in their order.
    Position,
    /// Those with the smallest weights.
    Probability,
}

impl FromStr for Overflow {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "position" => Ok(Self::Position),
            "probability" => Ok(Self::Probability),
            other => Err(Error::Config {
                option: "overflow",
                reason: format!("{other:?} is neither position nor probability"),
            }),
        }
    }
}

/// What mixture of experts to make.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MoeConfig {
    /// Hidden units of each expert, multiples of the block. They may differ.
    pub experts: Vec<usize>,
    /// How tokens choose experts, or experts tokens.
    pub gate: Gate,
    /// What the losses count that keep experts in balance.
    pub balance: Balance,
    /// How far a step moves the bias that keeps experts in balance without a loss; 0 for no such bias.
    pub bias_rate: f32,
    /// How many times the tokens that it would have in balance an expert has room for; 0 for no limit, so that no token is
    /// ever dropped.
    pub capacity: f32,
    /// Who is dropped where there is a limit.
    pub overflow: Overflow,
    /// Whether hidden units are gated: `activation(x * G^T) * (x * U^T)` (Shazeer 2020).
    pub gated: bool,
    /// Hidden units of an expert that every token goes to; 0 for none.
    pub shared: usize,
}

impl MoeConfig {
    /// Refuses what makes no sense, each by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self, block: usize) -> Result<()> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        self.gate.validate(self.experts.len())?;
        self.balance.validate()?;
        let widths = self.experts.iter().map(|&width| ("experts", width, false));
        for (option, width, may_be_none) in widths.chain([("shared", self.shared, true)]) {
            if width % block != 0 || (width == 0 && !may_be_none) {
                let near = width.next_multiple_of(block).max(block);
                return bad(option, format!("{width} is not a multiple of the block, {block}; try {near}"));
            }
        }
        if !(self.capacity.is_finite() && self.capacity >= 0.0) {
            return bad("capacity", format!("{} is not a number from 0 up", self.capacity));
        }
        if !(self.bias_rate.is_finite() && self.bias_rate >= 0.0) {
            return bad("bias-rate", format!("{} is not a number from 0 up", self.bias_rate));
        }
        if self.bias_rate > 0.0 && !matches!(self.gate, Gate::TopK { .. }) {
            return bad("bias-rate", format!("a bias is for top-k gates, and this one is {}", self.gate));
        }
        Ok(())
    }

    /// Tokens that an expert has room for, of so many; 0 for no limit.
    pub fn room(&self, tokens: usize) -> usize {
        if self.capacity == 0.0 {
            return 0;
        }
        let experts = self.experts.len();
        // A token has room for a choice of every expert where experts choose, but not on average.
        let choices = if self.gate.by_expert() { 1 } else { self.gate.choices(experts) };
        let balanced = (tokens * choices) as f64 / experts as f64;
        ((balanced * f64::from(self.capacity)).ceil() as usize).max(1)
    }

    /// Shapes of its layers: the router, the spread of its noise, the experts' layers one behind the other, and the shared expert.
    /// `units` is the number of the experts' hidden units; the next one is that of the shared expert's.
    pub(in crate::nn) fn layers(
        &self,
        name: &str,
        width: usize,
        sparse: bool,
        units: usize,
    ) -> Vec<LayerShape> {
        let count = self.experts.len();
        let hidden: usize = self.experts.iter().sum();
        let parts = [
            ("router", count, false, !matches!(self.gate, Gate::Hash { .. })),
            ("noise", count, false, matches!(self.gate, Gate::NoisyTopK { .. })),
            ("experts.gate", hidden, sparse, self.gated),
            ("experts.up", hidden, sparse, true),
            ("experts.down", hidden, sparse, true),
        ];
        let mut layers = Vec::new();
        for (part, rows, sparse, there) in parts {
            if there {
                layers.push(LayerShape {
                    name: format!("{name}.{part}"),
                    sides: [rows, width],
                    sparse,
                    bias: false,
                    units: [sparse.then_some(units), None],
                });
            }
        }
        if self.shared > 0 {
            layers.extend(FeedForward::layers(
                &format!("{name}.shared"),
                width,
                self.shared,
                sparse,
                units + 1,
            ));
        }
        layers
    }
}

/// Its experts and its gate in words.
impl fmt::Display for MoeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} experts, {}", self.experts.len(), self.gate)
    }
}
