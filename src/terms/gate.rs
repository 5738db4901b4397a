//! Gate configuration.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Largest number of experts of a gate or a routing.
pub const MOST_EXPERTS: usize = 512;

/// Score function: maps logits to probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// Softmax over all experts.
    Softmax,
    /// Sigmoid per expert, as in DeepSeek-V3.
    Sigmoid,
}

/// Rule that computes the weights of a token's assigned experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// Probabilities.
    Probs,
    /// Probabilities divided by their sum plus 1e-9, as in GShard.
    Renormalised,
    /// Softmax over the assigned experts' logits; requires [`Score::Softmax`].
    Chosen,
}

/// Gate: rule that assigns tokens to experts.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Gate {
    /// Top-k by logit; with a selection bias, by probability plus bias.
    TopK {
        /// Assignments per token.
        k: usize,
        /// Score function.
        score: Score,
        /// Weight rule.
        weights: Weights,
        /// Token rounding (SonicMoE): rounds the number of tokens of each expert to the nearest multiple of this
        /// tile, half a tile upwards. Drops the least probable assigned tokens, or adds the most probable others.
        /// Weights are computed after rounding.
        tile: Option<usize>,
    },
    /// Noisy top-k (Shazeer et al. 2017): in training, normal noise of learned standard deviation on the logits,
    /// top-k, and a softmax over those.
    NoisyTopK {
        /// Assignments per token.
        k: usize,
    },
    /// GShard (2020): top-2 by softmax, weights divided by their sum. Dropping the second expert, at random or beyond
    /// its capacity, does not change the first weight.
    GShard {
        /// In training, keep a second expert of weight `g` with probability `g / 0.2` only.
        random: bool,
    },
    /// Hash routing by token id, with equal weights; nothing is learned.
    Hash {
        /// Assignments per token.
        k: usize,
    },
    /// Expert choice (Zhou et al. 2022): each expert selects its [`Gate::capacity`] most probable tokens, of equals
    /// the first, or all that count. Weights are softmax probabilities.
    ExpertChoice {
        /// Experts per token on average. Padding does not count.
        factor: f32,
    },
}

impl Gate {
    /// Assignment slots per token: k, or one per expert where experts choose or token rounding applies.
    pub fn assignments(self, experts: usize) -> usize {
        match self {
            Self::TopK { tile: Some(_), .. } | Self::ExpertChoice { .. } => experts,
            _ => self.top_k(experts),
        }
    }

    /// Whether slot `j` of a token belongs to expert `j`, rather than to its `j`-th assignment.
    pub fn by_expert(self) -> bool {
        matches!(self, Self::TopK { tile: Some(_), .. } | Self::ExpertChoice { .. })
    }

    /// Number of experts that a token selects itself.
    pub(crate) fn top_k(self, experts: usize) -> usize {
        match self {
            Self::TopK { k, .. } | Self::NoisyTopK { k } | Self::Hash { k } => k,
            Self::GShard { .. } => 2,
            Self::ExpertChoice { .. } => experts,
        }
    }

    /// Score function.
    pub fn score(self) -> Score {
        if let Self::TopK { score, .. } = self { score } else { Score::Softmax }
    }

    /// Weight rule.
    pub fn weights(self) -> Weights {
        match self {
            Self::TopK { weights, .. } => weights,
            Self::NoisyTopK { .. } => Weights::Chosen,
            Self::GShard { .. } => Weights::Renormalised,
            Self::Hash { .. } | Self::ExpertChoice { .. } => Weights::Probs,
        }
    }

    /// Whether a token's experts depend only on its own logits and random draws. Expert choice, and rounding to tiles
    /// of more than one token, compare all tokens of a batch, later ones included.
    pub fn is_causal(self) -> bool {
        match self {
            Self::ExpertChoice { .. } => false,
            Self::TopK { tile, .. } => tile.is_none_or(|tile| tile == 1),
            _ => true,
        }
    }

    /// Gate for evaluation. Token rounding, a speed measure of training, is left out; assignment slots keep the
    /// layout of training.
    #[must_use]
    pub fn evaluated(self) -> Self {
        match self {
            Self::TopK { k, score, weights, tile: Some(_) } => {
                Self::TopK { k, score, weights, tile: Some(1) }
            }
            other => other,
        }
    }

    /// Whether the single assignment of every token has weight 1 for any logits, so that weights carry no gradient.
    pub fn weighs_nothing(self) -> bool {
        let learned = matches!(self, Self::TopK { k: 1, .. } | Self::NoisyTopK { k: 1 });
        learned && self.weights() != Weights::Probs
    }

    /// Tokens an expert selects of `tokens` under expert choice: `ceil(factor * tokens / experts)`, at least 1 and at
    /// most `tokens`.
    pub fn capacity(self, tokens: usize, experts: usize) -> usize {
        let Self::ExpertChoice { factor } = self else { return tokens };
        let share = f64::from(factor) * tokens as f64 / experts.max(1) as f64;
        (share.ceil() as usize).max(1).min(tokens)
    }

    /// Validates the gate for a number of experts.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(self, experts: usize) -> Result<()> {
        let bad = |reason| Err(Error::Config { option: "gate", reason });
        if !(1..=MOST_EXPERTS).contains(&experts) {
            return bad(format!("{experts} experts; must be 1 to {MOST_EXPERTS}"));
        }
        let k = self.top_k(experts);
        if !(1..=experts).contains(&k) {
            return bad(format!(
                "{self} assigns {k} experts per token of {experts} experts; must be 1 to {experts}"
            ));
        }
        match self {
            Self::TopK { score: Score::Sigmoid, weights: Weights::Chosen, .. } => {
                bad(format!("{self}: weights `chosen` need softmax probabilities"))
            }
            Self::TopK { tile: Some(0), .. } => bad(format!("{self}: the tile must be at least 1 token")),
            Self::TopK { tile: Some(tile), .. } if u32::try_from(tile).is_err() => {
                bad(format!("{self}: the tile must be below 2^32 tokens"))
            }
            Self::ExpertChoice { factor } if !(factor.is_finite() && factor > 0.0) => {
                bad(format!("{self}: the number of experts per token must be positive and finite"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopK { k, score, weights, tile } => {
                let score = if *score == Score::Sigmoid { "sigmoid" } else { "softmax" };
                write!(f, "{score}-top:{k}")?;
                match weights {
                    Weights::Probs => {}
                    Weights::Renormalised => f.write_str(":renormalised")?,
                    Weights::Chosen => f.write_str(":chosen")?,
                }
                tile.map_or(Ok(()), |tile| write!(f, ":tile={tile}"))
            }
            Self::NoisyTopK { k } => write!(f, "noisy-top:{k}"),
            Self::GShard { random: false } => f.write_str("gshard"),
            Self::GShard { random: true } => f.write_str("gshard:random"),
            Self::Hash { k } => write!(f, "hash:{k}"),
            Self::ExpertChoice { factor } => write!(f, "expert-choice:{factor}"),
        }
    }
}

impl FromStr for Gate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| Error::Config {
            option: "gate",
            reason: format!(
                "{text:?} is none of softmax-top:K, sigmoid-top:K (both with :renormalised, the first with :chosen, \
                 either with :tile=N), noisy-top:K, gshard, gshard:random, hash:K, expert-choice:FACTOR"
            ),
        })
    }
}

fn parse(text: &str) -> Option<Gate> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let number = || rest.parse::<usize>().ok();
    match name {
        "softmax-top" => top_k(Score::Softmax, rest),
        "sigmoid-top" => top_k(Score::Sigmoid, rest),
        "noisy-top" => Some(Gate::NoisyTopK { k: number()? }),
        "gshard" if text == name => Some(Gate::GShard { random: false }),
        "gshard" if rest == "random" => Some(Gate::GShard { random: true }),
        "hash" => Some(Gate::Hash { k: number()? }),
        "expert-choice" => Some(Gate::ExpertChoice { factor: rest.parse().ok()? }),
        _ => None,
    }
}

fn top_k(score: Score, rest: &str) -> Option<Gate> {
    let mut words = rest.split(':').peekable();
    let k = words.next()?.parse().ok()?;
    let weights = match words.peek() {
        Some(&"renormalised") => Weights::Renormalised,
        Some(&"chosen") => Weights::Chosen,
        _ => Weights::Probs,
    };
    if weights != Weights::Probs {
        words.next();
    }
    let tile = words.next().map(|word| word.strip_prefix("tile=")?.parse().ok());
    match (tile, words.next()) {
        (None, None) => Some(Gate::TopK { k, score, weights, tile: None }),
        (Some(Some(tile)), None) => Some(Gate::TopK { k, score, weights, tile: Some(tile) }),
        _ => None,
    }
}

/// Policy for dropping assignments beyond an expert's capacity, in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// Drops the last tokens: those of a group queue in order.
    Position,
    /// Drops the assignments of smallest weight in the group, of equals the last.
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

/// Coefficients of the balance losses; 0 disables a loss.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Balance {
    /// Auxiliary loss of GShard: number of experts times the sum over experts of mean probability share times share
    /// of first assignments. 1 in balance, the number of experts in collapse. Only the probabilities have a gradient.
    /// Where there is no first assignment ([`Gate::by_expert`]), every assignment counts as one.
    pub aux: f32,
    /// Importance loss of Shazeer: squared coefficient of variation of the experts' sums of weights.
    pub importance: f32,
    /// Load loss of Shazeer: squared coefficient of variation of the expected token counts under redrawn noise.
    /// Without noise, plain counts without a gradient.
    pub load: f32,
    /// Router z loss: mean squared log-sum-exp of the deciding logits, noise included.
    pub z: f32,
}

impl Balance {
    /// Validates that all coefficients are finite.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(self) -> Result<()> {
        for (name, value) in
            [("aux", self.aux), ("importance", self.importance), ("load", self.load), ("z", self.z)]
        {
            if !value.is_finite() {
                return Err(Error::Config {
                    option: "balance",
                    reason: format!("{name} is {value}; must be finite"),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        for text in [
            "softmax-top:1",
            "softmax-top:2:renormalised",
            "softmax-top:2:chosen:tile=64",
            "sigmoid-top:8:renormalised",
            "sigmoid-top:8:tile=16",
            "noisy-top:4",
            "gshard",
            "gshard:random",
            "hash:1",
            "expert-choice:1.25",
        ] {
            let gate: Gate = text.parse().unwrap();
            assert_eq!(gate.to_string(), text);
            let json = serde_json::to_string(&gate).unwrap();
            assert_eq!(serde_json::from_str::<Gate>(&json).unwrap(), gate, "{json}");
        }
        for text in [
            "",
            "top:2",
            "softmax-top",
            "softmax-top:2:tile",
            "gshard:",
            "hash:x",
            "noisy-top:4:renormalised",
        ] {
            assert!(text.parse::<Gate>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, experts) in [
            ("softmax-top:0", 4),
            ("softmax-top:5", 4),
            ("softmax-top:1", 0),
            ("softmax-top:1", 513),
            ("sigmoid-top:1:chosen", 4),
            ("softmax-top:1:tile=0", 4),
            ("gshard", 1),
            ("expert-choice:0", 4),
            ("expert-choice:NaN", 4),
        ] {
            let refused = text.parse::<Gate>().unwrap().validate(experts).unwrap_err().to_string();
            assert!(refused.starts_with("gate: "), "{refused}");
        }
    }
}
