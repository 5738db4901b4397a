//! What network to make, of all that there are.

use std::fmt;

use super::{FanIn, Lm, LmConfig, Mlp, MlpConfig, MoeConfig, Network, Precision};
use crate::gpu::Gpu;
use crate::random::{Key, Stream};
use crate::sparse::{self, Density, Draw, Grid, Topology};
use crate::{Error, Result};

/// A layer to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerShape {
    /// The name that PyTorch would give: `layers.0`.
    pub name: String,
    /// The sides of the weight, `[out, in]`.
    pub sides: [usize; 2],
    /// Whether the weight is block-sparse.
    pub sparse: bool,
    /// Whether a bias follows.
    pub bias: bool,
    /// The units that rows and columns of the weight stand for, by a number of the network's: layers that write and read the same
    /// units share it. `None` for units that are written and read in any case, as those of a residual stream.
    pub units: [Option<usize>; 2],
}

/// What network to make.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// A multi-layer perceptron.
    Mlp(MlpConfig),
    /// A character-level language model.
    Lm(LmConfig),
}

impl ModelConfig {
    /// Refuses what makes no sense, each by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Mlp(config) => config.validate(),
            Self::Lm(config) => config.validate(),
        }
    }

    /// Notices for the user before training, none of them an error.
    pub fn notices(&self) -> Vec<String> {
        match self {
            Self::Mlp(_) => Vec::new(),
            Self::Lm(config) => config.experts.as_ref().map_or(Vec::new(), MoeConfig::notices),
        }
    }

    /// Where everything that is drawn comes from.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Mlp(config) => config.seed,
            Self::Lm(config) => config.seed,
        }
    }

    /// Characters of a window, for a model that sees windows of text; 0 for others.
    pub fn context(&self) -> usize {
        match self {
            Self::Mlp(_) => 0,
            Self::Lm(config) => config.context,
        }
    }

    /// The share of blocks that are absent; `None` where every layer is dense.
    pub fn sparsity(&self) -> Option<f64> {
        match self {
            Self::Mlp(config) => config.sparsity,
            Self::Lm(config) => config.sparsity,
        }
    }

    /// The side of a block.
    pub fn block(&self) -> usize {
        match self {
            Self::Mlp(config) => config.block,
            Self::Lm(config) => config.block,
        }
    }

    /// How the present blocks are shared out among the layers.
    pub fn density(&self) -> Density {
        match self {
            Self::Mlp(config) => config.density,
            Self::Lm(config) => config.density,
        }
    }

    /// Elements of all parameters if every block were present.
    pub fn params_dense(&self) -> usize {
        match self {
            Self::Mlp(config) => config.params_dense(),
            Self::Lm(config) => config.params_dense(),
        }
    }

    /// What the layers of the network will be, in the order of [`Network::layers`].
    pub fn layers(&self) -> Vec<LayerShape> {
        match self {
            Self::Mlp(config) => config.layers(),
            Self::Lm(config) => config.layers(),
        }
    }

    /// How many blocks each layer has at a sparsity; 0 for layers that are dense.
    ///
    /// # Errors
    /// [`Error::Config`] if a layer is left with no block.
    pub fn counts(&self, sparsity: Option<f64>) -> Result<Vec<usize>> {
        counts(&self.layers(), self.block(), self.density(), sparsity)
    }

    /// A random initial pattern for each layer, [connected](sparse::connected) to those of the others; `None` where it is dense.
    ///
    /// # Errors
    /// [`Error::Config`] if a layer is left with no block.
    pub fn topologies(&self, sparsity: Option<f64>) -> Result<Vec<Option<Topology>>> {
        let (layers, counts, block) = (self.layers(), self.counts(sparsity)?, self.block());
        let sparse = layers.iter().zip(counts).enumerate().filter(|(_, (layer, _))| layer.sparse);
        let draws: Vec<Draw> = sparse
            .map(|(number, (layer, nnz))| {
                let key = Key::new(self.seed(), Stream::Pattern(number as u32));
                Draw { sides: layer.sides, block, nnz, units: layer.units, key }
            })
            .collect();
        let mut drawn = sparse::connected(&draws)?.into_iter();
        Ok(layers.iter().map(|layer| if layer.sparse { drawn.next() } else { None }).collect())
    }

    /// The network with these patterns, weights drawn from the seed, and room for `batch` rows.
    ///
    /// # Errors
    /// [`Error::Config`] as [`ModelConfig::validate`] and [`Precision::validate`], [`Error::Argument`] if a pattern does not
    /// fit, [`Error::OutOfMemory`].
    pub fn build(
        &self,
        gpu: &Gpu,
        batch: usize,
        topologies: &[Option<Topology>],
        fan_in: FanIn,
        precision: Precision,
    ) -> Result<Box<dyn Network>> {
        precision.validate()?;
        match self {
            Self::Mlp(config) => {
                Ok(Box::new(Mlp::new(gpu, config.clone(), batch, topologies, fan_in, precision)?))
            }
            Self::Lm(config) => {
                Ok(Box::new(Lm::new(gpu, config.clone(), batch, topologies, fan_in, precision)?))
            }
        }
    }
}

/// Most rows or columns that anything may have: sizes up to it can be added and multiplied by small numbers without overflow.
const MOST_SIDE: usize = 1 << 31;
/// Most elements of a weight if every block were present.
const MOST_ELEMENTS: usize = 1 << 44;
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

/// How many blocks each layer has at a sparsity; 0 for layers that are dense.
pub(super) fn counts(
    layers: &[LayerShape],
    block: usize,
    density: Density,
    sparsity: Option<f64>,
) -> Result<Vec<usize>> {
    for LayerShape { name, sides: [rows, cols], .. } in layers {
        if rows.checked_mul(*cols).is_none_or(|elements| elements > MOST_ELEMENTS) {
            let reason =
                format!("{name} would be {rows} x {cols}; at most {MOST_ELEMENTS} elements can be run");
            return Err(Error::Config { option: "hidden", reason });
        }
    }
    let grids: Vec<Grid> = layers
        .iter()
        .filter(|layer| layer.sparse)
        .map(|layer| layer.sides.map(|side| side / block))
        .collect();
    let allocated = sparsity.map(|sparsity| density.allocate(&grids, sparsity)).transpose()?;
    let mut allocated = allocated.into_iter().flatten();
    Ok(layers.iter().map(|layer| if layer.sparse { allocated.next().unwrap_or(0) } else { 0 }).collect())
}

/// Its widths, from inputs to classes.
impl fmt::Display for ModelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mlp(config) => config.fmt(f),
            Self::Lm(config) => config.fmt(f),
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
