//! Which method, and its numbers.

use std::fmt;
use std::str::FromStr;

use super::{
    CtreSeq, CtreSim, EarlyCrop, Every, Gap, Importance, Magnitude, Method, Rigl, SbpSr, Scl, Scope, Set,
    SetPublished, Snfs, Snip, Static, SupTickets, SynFlow, TopKast, Updates,
};
use crate::nn::ModelConfig;
use crate::{Error, Result};

/// The methods there are, as the command line names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// [`Static`].
    Static,
    /// [`Set`].
    Set,
    /// [`SetPublished`].
    SetPublished,
    /// [`Rigl`].
    Rigl,
    /// [`Snfs`].
    Snfs,
    /// [`TopKast`].
    TopKast,
    /// [`CtreSeq`].
    CtreSeq,
    /// [`CtreSim`].
    CtreSim,
    /// [`Magnitude`].
    Magnitude,
    /// [`Gap`].
    Gap,
    /// [`SupTickets`].
    SupTickets,
    /// [`Scl`].
    Scl,
    /// [`Snip`].
    Snip,
    /// [`SynFlow`].
    #[serde(rename = "synflow")]
    SynFlow,
    /// [`SbpSr`].
    SbpSr,
    /// [`EarlyCrop`].
    EarlyCrop,
    /// [`Importance`].
    Importance,
}

impl Kind {
    /// Every method with its name.
    pub const ALL: &[(&str, Self)] = &[
        ("static", Self::Static),
        ("set", Self::Set),
        ("set-published", Self::SetPublished),
        ("rigl", Self::Rigl),
        ("snfs", Self::Snfs),
        ("top-kast", Self::TopKast),
        ("ctre-seq", Self::CtreSeq),
        ("ctre-sim", Self::CtreSim),
        ("magnitude", Self::Magnitude),
        ("gap", Self::Gap),
        ("sup-tickets", Self::SupTickets),
        ("scl", Self::Scl),
        ("snip", Self::Snip),
        ("synflow", Self::SynFlow),
        ("sbp-sr", Self::SbpSr),
        ("early-crop", Self::EarlyCrop),
        ("importance", Self::Importance),
    ];

    /// Whether how large gradients are matters, or passes of the method's own do, rather than the order of scores alone.
    pub fn measures_gradients(self) -> bool {
        match self {
            Self::Static | Self::Set | Self::SetPublished | Self::Rigl | Self::TopKast => false,
            Self::CtreSeq | Self::CtreSim | Self::Magnitude | Self::Gap | Self::Importance => false,
            Self::Snfs | Self::SupTickets | Self::Scl | Self::Snip => true,
            Self::SynFlow | Self::SbpSr | Self::EarlyCrop => true,
        }
    }

    /// Whether the method divides a run into phases, at whose ends the number of blocks changes: a run that is under way cannot
    /// be made longer.
    pub fn has_phases(self) -> bool {
        matches!(self, Self::Magnitude | Self::Gap | Self::SupTickets | Self::Scl | Self::EarlyCrop)
    }

    /// Whether updates are due by the schedule of [`Updates`], or the method has its own times.
    pub fn has_updates(self) -> bool {
        self.exchanges() || matches!(self, Self::Magnitude)
    }

    /// Whether updates exchange a share of the blocks.
    pub fn exchanges(self) -> bool {
        match self {
            Self::Set | Self::SetPublished | Self::Rigl | Self::Snfs | Self::TopKast => true,
            Self::CtreSeq | Self::CtreSim | Self::SupTickets | Self::Importance => true,
            Self::Static | Self::Magnitude | Self::Gap | Self::Scl => false,
            Self::Snip | Self::SynFlow | Self::SbpSr | Self::EarlyCrop => false,
        }
    }

    /// Whether growth is decided by gradients or activations of some rows of a batch.
    pub fn scores_rows(self) -> bool {
        matches!(self, Self::Rigl | Self::Snfs | Self::CtreSeq | Self::CtreSim | Self::SupTickets)
    }

    /// Whether blocks of all layers may compete in pruning.
    pub fn has_scope(self) -> bool {
        matches!(
            self,
            Self::SupTickets | Self::Scl | Self::Snip | Self::SynFlow | Self::SbpSr | Self::EarlyCrop
        )
    }

    /// Why the method cannot work on a model, if it cannot.
    fn objection(self, model: &ModelConfig) -> Option<&'static str> {
        let ModelConfig::Lm(config) = model else { return None };
        let sparse_experts = config.experts.is_some() && config.sparsity.is_some();
        match self {
            Self::SynFlow => Some("follows what flows through a perceptron, and a language model is none"),
            Self::SbpSr => {
                Some("rescales the layers of a perceptron, and those of a language model stand behind norms")
            }
            Self::CtreSeq | Self::CtreSim if sparse_experts => Some(
                "compares a layer's inputs with its outputs row by row, and each expert passes rows of its own",
            ),
            _ => None,
        }
    }

    /// The schedule that the method was published with.
    pub fn updates(self) -> Updates {
        match self {
            Self::SetPublished | Self::Importance => Updates::SET,
            Self::CtreSeq | Self::CtreSim => Updates { fraction: 0.2, ..Updates::SET },
            _ => Updates::RIGL,
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|&(_, kind)| kind).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            Error::Config { option: "method", reason: format!("{text:?} is none of {}", names.join(", ")) }
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A method and its numbers: part of a run's settings.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MethodConfig {
    /// Which.
    pub kind: Kind,
    /// When topologies change.
    pub updates: Updates,
    /// Top-KAST: the sparsity of what is stored and receives gradients.
    pub backward_sparsity: f64,
    /// Top-KAST's decay, SCL's cost of a connection.
    pub penalty: f64,
    /// How many rows of a batch growth is scored by; a sixteenth, or what fits a binding, where there is no number. Scores are
    /// looked at for all blocks there could be, so all rows would cost an update as much as several steps of a very sparse
    /// network.
    pub score_rows: Option<usize>,
    /// Neuron-importance pruning: whether outgoing weights are lost too.
    pub prune_outgoing: bool,
    /// SNIP, SBP-SR, SynFlow, Early-CroP, SCL, Sup-tickets: whose blocks compete.
    pub scope: Scope,
}

impl MethodConfig {
    /// A method with the numbers it was published with, for a run of this sparsity.
    pub fn new(kind: Kind, sparsity: f64) -> Self {
        // Twice the blocks are stored that have a part in the network.
        let backward_sparsity = (1.0 - 2.0 * (1.0 - sparsity)).max(0.0);
        let penalty = if kind == Kind::TopKast { 0.0 } else { 0.1 };
        Self {
            kind,
            updates: kind.updates(),
            backward_sparsity,
            penalty,
            score_rows: None,
            prune_outgoing: false,
            scope: Scope::Global,
        }
    }

    /// How many rows of a batch of `batch` rows growth is scored by, where a binding has room for `fitting`.
    pub fn score_rows(&self, batch: usize, fitting: usize) -> usize {
        // The products take four rows at a time.
        let usual = || batch.div_ceil(16).next_multiple_of(4).min((fitting / 4 * 4).max(4));
        self.score_rows.unwrap_or_else(usual).min(batch)
    }

    /// Refuses what makes no sense, each by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        if !(0.0..1.0).contains(&self.backward_sparsity) {
            return bad("backward-sparsity", format!("{} is not in [0, 1)", self.backward_sparsity));
        }
        if !(self.penalty.is_finite() && self.penalty >= 0.0) {
            return bad("penalty", format!("{} is not a number from 0 up", self.penalty));
        }
        if self.score_rows == Some(0) {
            return bad("score-rows", "0 rows score nothing".to_owned());
        }
        self.updates.validate()
    }

    /// Refuses a model on which the method cannot work.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn expect_model(&self, model: &ModelConfig) -> Result<()> {
        if let Some(objection) = self.kind.objection(model) {
            return Err(Error::Config { option: "method", reason: format!("{} {objection}", self.kind) });
        }
        if self.kind == Kind::Importance && self.prune_outgoing && matches!(model, ModelConfig::Lm(_)) {
            let reason = "the outgoing weights of a language model's neurons are in many layers; this is for perceptrons";
            return Err(Error::Config { option: "prune-outgoing", reason: reason.to_owned() });
        }
        Ok(())
    }

    /// The method itself, in a run of this seed, sparsity and full learning rate.
    pub fn build(&self, seed: u64, sparsity: f64, rate: f64) -> Box<dyn Method> {
        let set = SetPublished { share: self.updates.fraction, seed };
        let every = match self.updates.every {
            Every::Steps(steps) => (steps / 10).max(1),
            Every::Epoch => 10,
        };
        match self.kind {
            Kind::Static => Box::new(Static),
            Kind::Set => Box::new(Set),
            Kind::SetPublished => Box::new(set),
            Kind::Rigl => Box::new(Rigl),
            Kind::Snfs => Box::new(Snfs { every, momentum: 0.9 }),
            Kind::TopKast => Box::new(TopKast::new(self.backward_sparsity, self.penalty as f32)),
            Kind::CtreSeq => Box::new(CtreSeq::new(seed, 40)),
            Kind::CtreSim => Box::new(CtreSim { seed }),
            Kind::Magnitude => Box::new(Magnitude),
            Kind::Gap => Box::new(Gap),
            Kind::SupTickets => Box::new(SupTickets::new(rate, self.scope)),
            Kind::Scl => Box::new(Scl::new(self.penalty as f32, self.scope)),
            Kind::Snip => Box::new(Snip { scope: self.scope }),
            Kind::SynFlow => Box::new(SynFlow { scope: self.scope }),
            Kind::SbpSr => Box::new(SbpSr { scope: self.scope }),
            Kind::EarlyCrop => Box::new(EarlyCrop::new(sparsity, self.scope)),
            Kind::Importance => Box::new(Importance { set, percentile: 0.2, outgoing: self.prune_outgoing }),
        }
    }
}
