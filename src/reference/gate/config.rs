//! Which gate, and its numbers.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The most experts that a gate chooses from.
pub const MOST_EXPERTS: usize = 512;

/// What makes probabilities of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// A softmax over all experts.
    Softmax,
    /// A sigmoid for each expert by itself, as DeepSeek-V3 has it.
    Sigmoid,
}

/// What makes weights of the probabilities of the experts that were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// They are the weights.
    Probs,
    /// They are divided by their sum (and 1e-9, as in GShard).
    Renormalised,
    /// A softmax over the logits of the chosen alone. It makes no use of probabilities, which must be of a softmax too.
    Chosen,
}

/// How tokens choose experts, or experts tokens.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Gate {
    /// A token goes to the `k` experts of largest logit; with a bias for selection, of largest probability plus bias.
    TopK {
        /// Choices of a token.
        k: usize,
        /// What makes probabilities.
        score: Score,
        /// What makes weights.
        weights: Weights,
        /// Token rounding (SonicMoE): an expert's tokens are then made a multiple of this many, the nearest, half a tile
        /// upwards. Its least probable tokens leave, or the most probable that had not chosen it come. Weights are those of
        /// what a token is left with.
        tile: Option<usize>,
    },
    /// Shazeer et al. 2017: normal noise of a learned spread on the logits in training, the `k` largest, and a softmax over
    /// those.
    NoisyTopK {
        /// Choices of a token.
        k: usize,
    },
    /// GShard 2020: the first two by a softmax, their weights divided by their sum. That is done before a second expert is
    /// dropped, by chance or for want of room, so the first keeps the weight it had beside it.
    GShard {
        /// Whether in training a second expert of weight `g` is kept with probability `g / 0.2` only.
        random: bool,
    },
    /// Experts by a hash of the token's identity, all of one weight: nothing is learned.
    Hash {
        /// Choices of a token.
        k: usize,
    },
    /// Zhou et al. 2022: each expert takes the tokens of largest probability, of equals the first: [`Gate::capacity`] of them,
    /// or all that count if they are fewer. Weights are the probabilities of a softmax.
    ExpertChoice {
        /// How many experts a token has on average. Padding is no token.
        factor: f32,
    },
}

impl Gate {
    /// The places that a token has for its choices: where experts choose, or rounding follows, one for every expert.
    pub fn choices(self, experts: usize) -> usize {
        match self {
            Self::TopK { tile: Some(_), .. } | Self::ExpertChoice { .. } => experts,
            _ => self.chosen(experts),
        }
    }

    /// Whether place `j` of a token is for expert `j`, rather than for its choice `j`.
    pub fn by_expert(self) -> bool {
        matches!(self, Self::TopK { tile: Some(_), .. } | Self::ExpertChoice { .. })
    }

    /// How many experts a token chooses by itself.
    pub(crate) fn chosen(self, experts: usize) -> usize {
        match self {
            Self::TopK { k, .. } | Self::NoisyTopK { k } | Self::Hash { k } => k,
            Self::GShard { .. } => 2,
            Self::ExpertChoice { .. } => experts,
        }
    }

    /// What makes probabilities.
    pub fn score(self) -> Score {
        if let Self::TopK { score, .. } = self { score } else { Score::Softmax }
    }

    /// What makes weights.
    pub fn weights(self) -> Weights {
        match self {
            Self::TopK { weights, .. } => weights,
            Self::NoisyTopK { .. } => Weights::Chosen,
            Self::GShard { .. } => Weights::Renormalised,
            Self::Hash { .. } | Self::ExpertChoice { .. } => Weights::Probs,
        }
    }

    /// Whether a token's experts depend on the token alone: its logits, and what is drawn for its place. Experts that choose
    /// compare all tokens of a batch, later ones too, and so does rounding to tiles of more than one token.
    pub fn is_causal(self) -> bool {
        match self {
            Self::ExpertChoice { .. } => false,
            Self::TopK { tile, .. } => tile.is_none_or(|tile| tile == 1),
            _ => true,
        }
    }

    /// The gate outside of training. Token rounding fills tiles for speed and is left out: a token goes to the experts that it
    /// chose. Places of choices are those of training.
    #[must_use]
    pub fn evaluated(self) -> Self {
        match self {
            Self::TopK { k, score, weights, tile: Some(_) } => {
                Self::TopK { k, score, weights, tile: Some(1) }
            }
            other => other,
        }
    }

    /// Whether every token's one choice has the weight 1, whatever the logits are, so that weights hand no gradient to them.
    pub fn weighs_nothing(self) -> bool {
        let learned = matches!(self, Self::TopK { k: 1, .. } | Self::NoisyTopK { k: 1 });
        learned && self.weights() != Weights::Probs
    }

    /// How many of `tokens` an expert takes, where experts choose: `factor * tokens / experts` rounded up, one at least and all
    /// at most.
    pub fn capacity(self, tokens: usize, experts: usize) -> usize {
        let Self::ExpertChoice { factor } = self else { return tokens };
        let share = f64::from(factor) * tokens as f64 / experts.max(1) as f64;
        (share.ceil() as usize).max(1).min(tokens)
    }

    /// Refuses what makes no sense of so many experts.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(self, experts: usize) -> Result<()> {
        let bad = |reason| Err(Error::Config { option: "gate", reason });
        if !(1..=MOST_EXPERTS).contains(&experts) {
            return bad(format!("{experts} experts, not 1 to {MOST_EXPERTS}"));
        }
        let k = self.chosen(experts);
        if !(1..=experts).contains(&k) {
            return bad(format!("{self} makes {k} choices of {experts} experts"));
        }
        match self {
            Self::TopK { score: Score::Sigmoid, weights: Weights::Chosen, .. } => {
                bad(format!("{self}: a softmax over the chosen, but sigmoids before"))
            }
            Self::TopK { tile: Some(0), .. } => bad(format!("{self}: tiles of no token")),
            Self::TopK { tile: Some(tile), .. } if u32::try_from(tile).is_err() => {
                bad(format!("{self}: a tile is below 2^32"))
            }
            Self::ExpertChoice { factor } if !(factor.is_finite() && factor > 0.0) => {
                bad(format!("{self}: not a positive number of experts a token"))
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

/// Which assignments are dropped in training where an expert has more than its capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// Those of the last tokens: the tokens of a group queue in their order.
    Position,
    /// Those of the smallest weights in the group, of equals the last.
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

/// The coefficients of the losses that keep experts in balance. 0 leaves one out.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Balance {
    /// GShard's auxiliary loss: experts times the sum over experts of their mean share of probability times the share of
    /// tokens that choose them first. 1 in balance, and as many as there are experts when one has everything. Only the
    /// probabilities have a gradient. Where there is no first choice ([`Gate::by_expert`]), every choice stands for one.
    pub aux: f32,
    /// Shazeer's importance: the squared coefficient of variation of the experts' sums of weights.
    pub importance: f32,
    /// Shazeer's load: the same of the expected numbers of tokens, by the noise. Without noise they are plain numbers, and have
    /// no gradient.
    pub load: f32,
    /// The mean square of the logarithm of the sum of the exponentials of the logits that decide, noise included.
    pub z: f32,
}

impl Balance {
    /// Refuses what is no number.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(self) -> Result<()> {
        for (name, value) in
            [("aux", self.aux), ("importance", self.importance), ("load", self.load), ("z", self.z)]
        {
            if !value.is_finite() {
                return Err(Error::Config { option: "balance", reason: format!("{name} is {value}") });
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
