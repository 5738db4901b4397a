//! Many multi-layer perceptrons as one network: their hidden units side by side, block-diagonal weights between them, and logits of
//! their own.

mod build;
mod parts;
mod together;

use std::fmt;
use std::ops::Range;

use super::MlpConfig;
use super::config::expect_size;
use crate::graph::{LayerSparsity, Precision};
use crate::ops::{Activation, SideBySide};
use crate::sparse::{BLOCKS, Density};
use crate::{Error, Result};

pub(crate) use parts::{Piece, Place};
pub use together::{Codistillation, Together};

/// One of many perceptrons: what it does not have in common with the others.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OneOf {
    /// Widths of its hidden layers, each padded to a multiple of the block inside.
    pub hidden: Vec<usize>,
    /// Activation behind each hidden layer.
    pub activation: Activation,
    /// Seed of its pattern and first weights.
    pub seed: u64,
}

/// Multi-layer perceptrons that are trained together on the same rows, each as if it were alone.
///
/// The first layer reads the rows for the hidden units of all networks at once; later layers are block-diagonal, a block of the
/// diagonal for each network, so that no weight joins two of them. Networks that follow each other in the list and have the same
/// activation and number of hidden layers are one group: a layer of a group is one product. A network's first weights are those that
/// [it would have alone](MlpsConfig::network).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MlpsConfig {
    /// Features of a row. Padded to a multiple of the block.
    pub inputs: usize,
    /// Classes, which are the same for all networks.
    pub classes: usize,
    /// Side of a block.
    pub block: usize,
    /// Share of a network's blocks that are absent, in `[0, 1)`; `None` for networks of dense layers.
    pub sparsity: Option<f64>,
    /// Distribution of a network's present blocks over its layers.
    pub density: Density,
    /// Share of hidden activations that is dropped in training; drawn for each unit of each network.
    pub dropout: f32,
    /// Seed of the order of rows, and of dropout.
    pub seed: u64,
    /// Layers of each network whose sparsity is their own, by their names in a network alone.
    #[serde(default, skip_serializing_if = "LayerSparsity::is_default")]
    pub layers: LayerSparsity,
    /// Purpose for which the networks are trained together.
    pub together: Together,
    /// The networks.
    pub networks: Vec<OneOf>,
}

impl MlpsConfig {
    /// A network as it would be alone.
    ///
    /// # Errors
    /// [`Error::Config`] for a number that no network has.
    pub fn network(&self, number: usize) -> Result<MlpConfig> {
        let Some(OneOf { hidden, activation, seed }) = self.networks.get(number) else {
            let reason = format!("{number} is none of the {} networks, from 0 on", self.networks.len());
            return Err(Error::Config { option: "network", reason });
        };
        Ok(MlpConfig {
            inputs: self.inputs,
            hidden: hidden.clone(),
            classes: self.classes,
            block: self.block,
            sparsity: self.sparsity,
            density: self.density,
            activation: *activation,
            dropout: self.dropout,
            seed: *seed,
            layers: self.layers.clone(),
            local: None,
        })
    }

    /// The width that rows are padded to with zeros.
    pub fn padded_inputs(&self) -> usize {
        self.inputs.next_multiple_of(self.block)
    }

    /// Columns of the logits of one network: its classes, padded to whole blocks.
    pub fn columns(&self) -> usize {
        self.classes.next_multiple_of(self.block)
    }

    /// Networks of each group, in order: one activation, and one number of hidden layers.
    pub fn groups(&self) -> Vec<Range<usize>> {
        let alike = |a: &OneOf, b: &OneOf| a.activation == b.activation && a.hidden.len() == b.hidden.len();
        let mut begin = 0;
        let chunks = self.networks.chunk_by(alike).map(|group| {
            begin += group.len();
            begin - group.len()..begin
        });
        chunks.collect()
    }

    /// The networks in the logits of each group.
    pub fn side_by_side(&self) -> Vec<SideBySide> {
        let all = self.networks.len();
        let of = |group: Range<usize>| SideBySide {
            networks: group.len(),
            begin: group.start,
            all,
            classes: self.classes,
            columns: self.columns(),
            shared_out: false,
        };
        self.groups().into_iter().map(of).collect()
    }

    /// Elements of all networks if every block within each were present.
    pub fn params_dense(&self) -> usize {
        let of = |number| {
            let graph = self.network(number).and_then(|config| config.graph(1, Precision::F32));
            graph.map_or(0, |graph| graph.params_dense())
        };
        (0..self.networks.len()).map(of).fold(0, usize::saturating_add)
    }

    /// Refuses sizes and options that make no networks, by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        if !BLOCKS.contains(&self.block) {
            return bad("block", format!("{} is none of {BLOCKS:?}", self.block));
        }
        if self.networks.is_empty() {
            return bad("networks", "there is no network".to_owned());
        }
        if let Some(number) = self.networks.iter().position(|network| network.hidden.is_empty()) {
            return bad("hidden", format!("network {number} has no hidden layer"));
        }
        if !self.layers.blocks.is_empty() {
            return bad("pattern", "networks that are trained together draw their patterns".to_owned());
        }
        // Networks that differ in their seeds alone have the same sizes.
        let alike = |a: &OneOf, b: &OneOf| a.activation == b.activation && a.hidden == b.hidden;
        let mut number = 0;
        for chunk in self.networks.chunk_by(alike) {
            self.network(number)?.validate()?;
            number += chunk.len();
        }
        let units = |layer: usize| {
            let width = |network: &OneOf| network.hidden.get(layer).copied().unwrap_or(0);
            self.networks
                .iter()
                .fold(0usize, |sum, network| sum.saturating_add(width(network).next_multiple_of(self.block)))
        };
        let deepest = self.networks.iter().map(|network| network.hidden.len()).max().unwrap_or(0);
        (0..deepest).try_for_each(|layer| expect_size("hidden", units(layer)))?;
        expect_size("networks", self.networks.len().saturating_mul(self.columns()))?;
        self.together.validate(self)?;
        self.graph(1, Precision::F32)?.counts(None).map(|_| ())
    }

    /// The first networks alone, as many as given.
    pub(crate) fn first(&self, networks: usize) -> Self {
        Self { networks: self.networks[..networks.min(self.networks.len())].to_vec(), ..self.clone() }
    }
}

/// Number of networks, and their widths from inputs to classes: `12 x 64-512-10`, or `300 x 64-(8..128)-10` where they differ.
impl fmt::Display for MlpsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, classes, networks, .. } = self;
        write!(f, "{} x {inputs}-", networks.len())?;
        match networks.first() {
            Some(first) if networks.iter().all(|network| network.hidden == first.hidden) => {
                first.hidden.iter().try_for_each(|width| write!(f, "{width}-"))?;
            }
            _ => {
                let widths = || networks.iter().flat_map(|network| network.hidden.iter().copied());
                let [least, most] = [widths().min().unwrap_or(0), widths().max().unwrap_or(0)];
                write!(f, "({least}..{most})-")?;
            }
        }
        write!(f, "{classes}")
    }
}
