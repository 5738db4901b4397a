//! Networks that a run can be made of: the ready-made ones, and those that a program composes.

use std::fmt;

use super::{Composed, LmConfig, MlpConfig, MlpsConfig, MoeConfig, Row};
use crate::gpu::Gpu;
use crate::graph::{Description, Graph, Layer, LayerSparsity, Network, Precision, Recompute, Start};
use crate::sparse::Topology;
use crate::{Error, Result};

/// A network's description: part of a run's settings.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// A multi-layer perceptron.
    Mlp(MlpConfig),
    /// Many multi-layer perceptrons that are trained together.
    Mlps(MlpsConfig),
    /// A byte-level language model.
    Lm(LmConfig),
    /// A network that a program composed of modules.
    Composed(Composed),
}

impl ModelConfig {
    /// Refuses sizes and options that make no network, by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Mlp(config) => config.validate(),
            Self::Mlps(config) => config.validate(),
            Self::Lm(config) => config.validate(),
            Self::Composed(composed) => composed.validate(),
        }
    }

    /// The network as a graph for `batch` rows (of text: windows).
    ///
    /// # Errors
    /// [`Error::Argument`] for sizes that overflow; [`Error::Config`] for a composed network that was read from a checkpoint and not
    /// given by the program again.
    pub fn graph(&self, batch: usize, precision: Precision) -> Result<Graph> {
        match self {
            Self::Mlp(config) => config.graph(batch, precision),
            Self::Mlps(config) => config.graph(batch, precision),
            Self::Lm(config) => config.graph(batch, precision),
            Self::Composed(composed) => composed.graph(batch, precision),
        }
    }

    /// The network without [local](super::Local) training. That of a composed network cannot be taken away.
    pub(crate) fn in_one_part(&self) -> Self {
        match self {
            Self::Mlp(config) => Self::Mlp(MlpConfig { local: None, ..config.clone() }),
            other => other.clone(),
        }
    }

    /// The network in words: nodes and parameters. That of a composed network is read from the checkpoint, without the program that
    /// composed it.
    ///
    /// # Errors
    /// As [`ModelConfig::graph`], and [`Error::Config`] for a checkpoint's description that is damaged.
    pub fn description(&self) -> Result<Description> {
        let text = match self {
            Self::Mlp(_) | Self::Mlps(_) | Self::Lm(_) => self.graph(1, Precision::F32)?.describe(),
            Self::Composed(composed) => composed.describe().clone(),
        };
        serde_json::from_value(text).map_err(|error| Error::Config {
            option: "model",
            reason: format!("its description is damaged: {error}"),
        })
    }

    /// Layers whose sparsity is their own; `None` for a composed network, whose modules say so themselves, and for many perceptrons,
    /// whose layers are not theirs alone.
    pub fn layer_sparsity(&mut self) -> Option<&mut LayerSparsity> {
        match self {
            Self::Mlp(config) => Some(&mut config.layers),
            Self::Lm(config) => Some(&mut config.layers),
            Self::Mlps(_) | Self::Composed(_) => None,
        }
    }

    /// Notices for the user before training, none of them an error.
    pub fn notices(&self) -> Vec<String> {
        match self {
            Self::Mlp(_) | Self::Mlps(_) | Self::Composed(_) => Vec::new(),
            Self::Lm(config) => config.experts.as_ref().map_or(Vec::new(), MoeConfig::notices),
        }
    }

    /// Rows that the network reads.
    pub fn row(&self) -> Row {
        match self {
            Self::Mlp(config) => Row::Features(config.inputs),
            Self::Mlps(config) => Row::Features(config.inputs),
            Self::Lm(config) => Row::Window(config.context),
            Self::Composed(composed) => composed.row(),
        }
    }

    /// The network as a graph for the fewest rows that it takes: 1, or all rows of one that reads them together. Enough for what does
    /// not depend on the batch.
    ///
    /// # Errors
    /// As [`ModelConfig::graph`].
    pub fn smallest_graph(&self, precision: Precision) -> Result<Graph> {
        match self {
            Self::Mlp(_) | Self::Mlps(_) | Self::Lm(_) => self.graph(1, precision),
            Self::Composed(composed) => composed.smallest_graph(precision),
        }
    }

    /// Seed of everything that is drawn.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Mlp(config) => config.seed,
            Self::Mlps(config) => config.seed,
            Self::Lm(config) => config.seed,
            Self::Composed(composed) => composed.seed(),
        }
    }

    /// Bytes of a window, for a model that sees windows of text; 0 for others.
    pub fn context(&self) -> usize {
        match self {
            Self::Mlp(_) | Self::Mlps(_) => 0,
            Self::Lm(config) => config.context,
            Self::Composed(composed) => composed.context(),
        }
    }

    /// The share of blocks that are absent; `None` where every layer is dense.
    pub fn sparsity(&self) -> Option<f64> {
        let (sparsity, layers) = match self {
            Self::Mlp(config) => (config.sparsity, &config.layers),
            Self::Lm(config) => (config.sparsity, &config.layers),
            Self::Mlps(config) => {
                return config.graph(1, Precision::F32).and_then(|graph| graph.sparsity()).ok().flatten();
            }
            Self::Composed(composed) => return composed.sparsity(),
        };
        match layers.is_default() {
            true => sparsity,
            // Layers of their own sparsity change that of all together.
            false => self.graph(1, Precision::F32).and_then(|graph| graph.sparsity()).ok().flatten(),
        }
    }

    /// Blocks and their distribution, in words: `blocks of 16, erk densities`.
    pub fn blocks(&self) -> String {
        match self {
            Self::Mlp(config) => format!("blocks of {}, {} densities", config.block, config.density),
            Self::Lm(config) => format!("blocks of {}, {} densities", config.block, config.density),
            Self::Mlps(config) => format!("blocks of {}, each network apart from the others", config.block),
            Self::Composed(_) => "blocks, each layer as it was composed".to_owned(),
        }
    }

    /// Elements of all parameters if every block were present.
    pub fn params_dense(&self) -> usize {
        match self {
            Self::Mlp(config) => config.graph(1, Precision::F32).map_or(0, |graph| graph.params_dense()),
            Self::Mlps(config) => config.params_dense(),
            Self::Lm(config) => config.graph(1, Precision::F32).map_or(0, |graph| graph.params_dense()),
            Self::Composed(composed) => composed.params_dense(),
        }
    }

    /// Matrices of the network, in the order of [`Network::layers`].
    ///
    /// # Errors
    /// As [`ModelConfig::graph`].
    pub fn layers(&self) -> Result<Vec<Layer>> {
        Ok(self.smallest_graph(Precision::F32)?.layers())
    }

    /// Blocks of each matrix at a sparsity; 0 for dense ones.
    ///
    /// # Errors
    /// [`Error::Config`] if a layer is left with no block.
    pub fn counts(&self, sparsity: Option<f64>) -> Result<Vec<usize>> {
        self.smallest_graph(Precision::F32)?.counts(sparsity)
    }

    /// A random initial topology for each matrix, [connected](crate::sparse::connected) to those of the others; `None` where it is
    /// dense.
    ///
    /// # Errors
    /// [`Error::Config`] if a layer is left with no block.
    pub fn topologies(&self, sparsity: Option<f64>) -> Result<Vec<Option<Topology>>> {
        match self {
            // Those that each network has alone.
            Self::Mlps(config) => config.topologies(),
            _ => self.smallest_graph(Precision::F32)?.topologies(sparsity),
        }
    }

    /// The network that begins with these topologies and drawn weights, and memory for `batch` rows, of whose values the backward
    /// pass [recomputes](Recompute) some.
    ///
    /// # Errors
    /// [`Error::Config`] as [`ModelConfig::validate`] and [`Precision::validate`], [`Error::Argument`] if a topology doesn't
    /// fit, [`Error::OutOfMemory`].
    pub fn build(
        &self,
        gpu: &Gpu,
        batch: usize,
        start: Start<'_>,
        precision: Precision,
        recompute: Option<Recompute>,
    ) -> Result<Network> {
        self.validate()?;
        precision.validate()?;
        let mut graph = self.graph(batch, precision)?;
        graph.recompute(recompute);
        let network = Network::new(gpu, graph, start)?;
        if let Self::Mlps(config) = self {
            for (param, values) in network.store().iter().zip(config.first_values(start.fan_in)?) {
                gpu.write(param.values(), &values)?;
            }
        }
        Ok(network)
    }
}

/// Most rows or columns that anything may have: sizes up to it can be added and multiplied by small numbers without overflow.
const MOST_SIDE: usize = 1 << 31;
/// Most blocks of attention and feed-forward network, each of which is described on the host.
pub(super) const MOST_DEPTH: usize = 1 << 14;

/// Refuses a size that no device has room for, before anything is computed from it.
pub(super) fn expect_size(option: &'static str, size: usize) -> Result<()> {
    if size < MOST_SIDE {
        return Ok(());
    }
    Err(Error::Config {
        option,
        reason: format!("{size} is too large; at most {} can be run", MOST_SIDE - 1),
    })
}

/// Sizes of the network.
impl fmt::Display for ModelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mlp(config) => config.fmt(f),
            Self::Mlps(config) => config.fmt(f),
            Self::Lm(config) => config.fmt(f),
            Self::Composed(composed) => composed.fmt(f),
        }
    }
}

impl From<LmConfig> for ModelConfig {
    fn from(config: LmConfig) -> Self {
        Self::Lm(config)
    }
}

impl From<MlpConfig> for ModelConfig {
    fn from(config: MlpConfig) -> Self {
        Self::Mlp(config)
    }
}

impl From<MlpsConfig> for ModelConfig {
    fn from(config: MlpsConfig) -> Self {
        Self::Mlps(config)
    }
}

impl From<Composed> for ModelConfig {
    fn from(composed: Composed) -> Self {
        Self::Composed(composed)
    }
}
