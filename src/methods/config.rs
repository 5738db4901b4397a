//! Methods by name, with their options: part of a run's settings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    CtreSeq, CtreSeqOptions, CtreSim, EarlyCrop, EarlyCropOptions, Gap, Importance, Magnitude, Method, Rigl,
    SbpSr, Scl, SclOptions, Scope, Set, SetPublished, Snfs, Snip, Static, SupTickets, SupTicketsOptions,
    SynFlow, TopKast, TopKastOptions, Updates,
};
use crate::{Error, Result};

/// Declares [`Kind`] and [`MethodConfig`] from one list: variant, type of the options, type of the method, name.
macro_rules! methods {
    ($($kind:ident($options:ident) = $method:ident, $name:literal;)+) => {
        /// The methods by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = concat!("[`", stringify!($method), "`].")] $kind,)+
        }

        impl Kind {
            /// Every method with its name on the command line.
            pub const ALL: &[(&str, Self)] = &[$(($name, Self::$kind)),+];
        }

        /// A method and its options.
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum MethodConfig {
            $(#[doc = concat!("[`", stringify!($method), "`].")] #[serde(rename = $name)] $kind($options),)+
        }

        impl MethodConfig {
            /// A method with its published options.
            pub fn new(kind: Kind) -> Self {
                match kind {
                    $(Kind::$kind => Self::$kind($options::default()),)+
                }
            }

            /// Which method.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            /// The method, at the beginning of a run.
            pub fn build(&self) -> Box<dyn Method> {
                match self {
                    $(Self::$kind(options) => Box::new($method::from(*options)),)+
                }
            }
        }

        $(
            impl From<$options> for MethodConfig {
                fn from(options: $options) -> Self {
                    Self::$kind(options)
                }
            }
        )+
    };
}

methods! {
    Static(Static) = Static, "static";
    Set(Set) = Set, "set";
    SetPublished(SetPublished) = SetPublished, "set-published";
    Rigl(Rigl) = Rigl, "rigl";
    Snfs(Snfs) = Snfs, "snfs";
    TopKast(TopKastOptions) = TopKast, "top-kast";
    CtreSeq(CtreSeqOptions) = CtreSeq, "ctre-seq";
    CtreSim(CtreSim) = CtreSim, "ctre-sim";
    Magnitude(Magnitude) = Magnitude, "magnitude";
    Gap(Gap) = Gap, "gap";
    SupTickets(SupTicketsOptions) = SupTickets, "sup-tickets";
    Scl(SclOptions) = Scl, "scl";
    Snip(Snip) = Snip, "snip";
    SynFlow(SynFlow) = SynFlow, "synflow";
    SbpSr(SbpSr) = SbpSr, "sbp-sr";
    EarlyCrop(EarlyCropOptions) = EarlyCrop, "early-crop";
    Importance(Importance) = Importance, "importance";
}

/// Options that several methods have, to be read or changed; `None` where the method doesn't have them.
#[derive(Debug, Default)]
pub struct SharedOptions<'a> {
    /// Schedule of the updates.
    pub updates: Option<&'a mut Updates>,
    /// Rows that score growth; see [`Method::score_rows`].
    pub score_rows: Option<&'a mut Option<usize>>,
    /// Scope of pruning.
    pub scope: Option<&'a mut Scope>,
}

impl MethodConfig {
    /// The options that the method shares with others.
    pub fn shared(&mut self) -> SharedOptions<'_> {
        let none = SharedOptions::default();
        match self {
            Self::Static(_) | Self::Gap(_) => none,
            Self::Set(Set { updates })
            | Self::SetPublished(SetPublished { updates })
            | Self::TopKast(TopKastOptions { updates, .. })
            | Self::Magnitude(Magnitude { updates })
            | Self::Importance(Importance { updates, .. }) => {
                SharedOptions { updates: Some(updates), ..none }
            }
            Self::Rigl(Rigl { updates, score_rows })
            | Self::Snfs(Snfs { updates, score_rows, .. })
            | Self::CtreSeq(CtreSeqOptions { updates, score_rows, .. })
            | Self::CtreSim(CtreSim { updates, score_rows }) => {
                SharedOptions { updates: Some(updates), score_rows: Some(score_rows), ..none }
            }
            Self::SupTickets(SupTicketsOptions { updates, score_rows, scope }) => {
                SharedOptions { updates: Some(updates), score_rows: Some(score_rows), scope: Some(scope) }
            }
            Self::Scl(SclOptions { scope, .. })
            | Self::Snip(Snip { scope })
            | Self::SynFlow(SynFlow { scope })
            | Self::SbpSr(SbpSr { scope })
            | Self::EarlyCrop(EarlyCropOptions { scope }) => SharedOptions { scope: Some(scope), ..none },
        }
    }
}

/// Options of a method that has none. Checkpoints of older versions have options of other methods here, which are passed over.
#[derive(Debug, Deserialize)]
pub(super) struct NoOptions {}

impl From<NoOptions> for Static {
    fn from(_: NoOptions) -> Self {
        Self
    }
}

impl From<NoOptions> for Gap {
    fn from(_: NoOptions) -> Self {
        Self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_the_names_of_their_kinds() {
        for &(name, kind) in Kind::ALL {
            let config = MethodConfig::new(kind);
            assert_eq!(config.build().name(), name);
            let json = serde_json::to_value(config).unwrap();
            assert_eq!(json["kind"], name);
            assert_eq!(serde_json::from_value::<MethodConfig>(json).unwrap(), config);
        }
    }

    /// Older versions wrote the options of all methods for each.
    #[test]
    fn options_of_older_versions_are_read() {
        let read = |kind: &str| -> MethodConfig {
            let text = format!(
                r#"{{"kind":"{kind}","updates":{{"every":{{"steps":7}},"from":0.1,"until":0.6,"fraction":0.2,"decay":"linear"}},
                "backward_sparsity":0.625,"penalty":0.3,"score_rows":12,"prune_outgoing":true,"scope":"layer"}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        for &(name, kind) in Kind::ALL {
            let mut config = read(name);
            assert_eq!(config.kind(), kind);
            let SharedOptions { updates, score_rows, scope } = config.shared();
            assert!(updates.is_none_or(|updates| updates.every == super::super::Every::Steps(7)), "{name}");
            assert!(score_rows.is_none_or(|rows| *rows == Some(12)), "{name}");
            assert!(scope.is_none_or(|scope| *scope == Scope::Layer), "{name}");
        }
        let MethodConfig::TopKast(top_kast) = read("top-kast") else { unreachable!() };
        assert_eq!((top_kast.backward_sparsity, top_kast.penalty), (Some(0.625), 0.3));
        let MethodConfig::Scl(scl) = read("scl") else { unreachable!() };
        assert_eq!(scl.cost, 0.3);
        let MethodConfig::Importance(importance) = read("importance") else { unreachable!() };
        assert!(importance.outgoing && importance.percentile == 0.2);
        let MethodConfig::Snfs(snfs) = read("snfs") else { unreachable!() };
        assert_eq!(snfs.momentum, 0.9);
    }
}
