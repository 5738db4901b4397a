//! Options of a mixture of experts.

use std::fmt;

use crate::nn::config::expect_size;
use crate::ops::gate::{Balance, Gate, Overflow, Score};
use crate::sparse::RoutingShape;
use crate::{Error, Result};

/// Experts, gate, capacity and balance of a mixture.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MoeConfig {
    /// Hidden units of each expert, padded inside to multiples of the block. They may differ.
    pub experts: Vec<usize>,
    /// How tokens choose experts, or experts tokens.
    pub gate: Gate,
    /// Coefficients of the balance losses.
    pub balance: Balance,
    /// How far a step moves the bias that keeps experts in balance without a loss; 0 for no such bias.
    pub bias_rate: f32,
    /// How many times its share in balance an expert takes in training, see [`MoeConfig::expert_capacity`]; 0 for no limit.
    /// Outside of training nothing is dropped.
    pub capacity: f32,
    /// Which assignments are dropped where there is a limit.
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
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        self.gate.validate(self.experts.len())?;
        self.balance.validate()?;
        let widths = self.experts.iter().map(|&width| ("experts", width, false));
        self.experts.iter().try_for_each(|&width| expect_size("experts", width))?;
        expect_size("shared", self.shared)?;
        for (option, width, may_be_none) in widths.chain([("shared", self.shared, true)]) {
            if width == 0 && !may_be_none {
                return bad(option, "an expert of 0 units gives nothing".to_owned());
            }
        }
        if !(self.capacity.is_finite() && self.capacity >= 0.0) {
            return bad("capacity", format!("{} is not a number from 0 up", self.capacity));
        }
        if !(self.bias_rate.is_finite() && self.bias_rate >= 0.0) {
            return bad("bias-rate", format!("{} is not a number from 0 up", self.bias_rate));
        }
        if self.gate.weighs_nothing() && !self.balance_trains() {
            return bad("gate", self.untrained());
        }
        if self.bias_rate > 0.0 && !matches!(self.gate, Gate::TopK { .. }) {
            return bad("bias-rate", format!("a bias is for top-k gates, and this one is {}", self.gate));
        }
        Ok(())
    }

    /// Tokens that an expert takes at most of a group of so many in training; 0 for no limit. It is the share that each expert
    /// has in balance, times the capacity, rounded up: of `k` choices a token `capacity * tokens * k / experts`, and that
    /// rounded up to whole tiles where the gate fills tiles; where experts choose, `capacity` times what the gate lets them take.
    ///
    /// A group is a sequence, and padding at its end counts, because a token's place must not depend on where its sequence
    /// ends. Where the gate itself is [not causal](Gate::is_causal), a group is those tokens of the batch that count.
    pub fn expert_capacity(&self, tokens: usize) -> usize {
        if self.capacity == 0.0 {
            return 0;
        }
        let experts = self.experts.len();
        let share = match self.gate {
            Gate::ExpertChoice { .. } => self.gate.capacity(tokens, experts) as f64,
            gate => tokens as f64 * gate.top_k(experts) as f64 / experts as f64,
        };
        // 1.1 in single precision is a little more than 1.1, which must not be a token more.
        let exact = 1.0 - f64::from(f32::EPSILON) / 2.0;
        let most = ((share * f64::from(self.capacity) * exact).ceil() as usize).max(1);
        match self.gate {
            Gate::TopK { tile: Some(tile), .. } => most.checked_next_multiple_of(tile).unwrap_or(most),
            _ => most,
        }
    }

    /// Hidden units of each expert with their padding.
    pub(crate) fn padded(&self, block: usize) -> impl Iterator<Item = usize> {
        self.experts.iter().map(move |units| units.next_multiple_of(block))
    }

    /// The sizes of the routing of so many tokens.
    pub(crate) fn routing(&self, tokens: usize, block: usize) -> RoutingShape {
        let count = self.experts.len();
        // Where experts choose, no more choices are made than they have room for together.
        let most =
            matches!(self.gate, Gate::ExpertChoice { .. }).then(|| count * self.gate.capacity(tokens, count));
        RoutingShape {
            tokens,
            choices: self.gate.assignments(count),
            block,
            widths: self.padded(block).collect(),
            most,
        }
    }

    /// Whether a token's experts depend on nothing but tokens before it in its own sequence, and itself: in training, or outside
    /// of it. A language model of a mixture that is not causal sees what it should predict.
    pub fn is_causal(&self, training: bool) -> bool {
        let gate = if training { self.gate } else { self.gate.evaluated() };
        // Hashed choices all have one weight, and of equals the first stay.
        let compares = self.overflow == Overflow::Probability && !matches!(gate, Gate::Hash { .. });
        gate.is_causal() && !(training && self.capacity > 0.0 && compares)
    }

    /// Notices for the user, none of them an error: that it is not causal, that its weights train no router, and that a loss has no
    /// gradient.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        if !self.is_causal(true) {
            let (gate, how) = match self.gate {
                Gate::ExpertChoice { .. } => {
                    (self.gate.to_string(), "compares the tokens of the whole batch")
                }
                gate if !gate.is_causal() => (gate.to_string(), "rounds to tiles over the whole batch"),
                gate => {
                    (format!("{gate} with overflow probability"), "drops by weight over the whole window")
                }
            };
            let tests = match self.is_causal(false) {
                true => "tests and samples leave that out and are causal",
                false => "tests do so, too, and their loss is better than that of text that is still to come",
            };
            notices.push(format!(
                "{gate} is not causal in training: it {how}, so a byte's experts depend on later bytes; {tests}"
            ));
        }
        if self.gate.weighs_nothing() {
            notices.push(format!("{}; losses of balance alone train it", self.untrained()));
        }
        if self.balance.load != 0.0 && !self.load_trains() {
            notices.push(format!("load has no gradient with {}: it is for noisy gates", self.gate));
        }
        notices
    }

    /// Whether losses of balance have a gradient by the router's logits where the weights have none.
    fn balance_trains(&self) -> bool {
        self.experts.len() > 1
            && (self.balance.aux != 0.0 || (self.balance.load != 0.0 && self.load_trains()))
    }

    /// Whether the load has a gradient: it goes by the noise, and needs an expert that is not chosen.
    fn load_trains(&self) -> bool {
        matches!(self.gate, Gate::NoisyTopK { k } if k < self.experts.len())
    }

    fn untrained(&self) -> String {
        let instead = match self.gate.score() {
            Score::Softmax => "softmax-top:1",
            Score::Sigmoid => "sigmoid-top:1",
        };
        format!(
            "{} gives every token's one expert the weight 1, so the output trains no router; {instead} weighs it by its \
             probability",
            self.gate
        )
    }
}

/// Its experts and its gate in words.
impl fmt::Display for MoeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} experts, {}", self.experts.len(), self.gate)
    }
}
