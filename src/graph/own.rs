//! Layers of a graph whose sparsity is their own, and not the network's.

use std::collections::BTreeMap;

use super::build::Graph;
use super::spec::ParamSpec;
use crate::{Error, Result};

/// Layers, by name, whose sparsity is not the network's: kept dense, or of so many blocks.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerSparsity {
    /// Layers that stay dense, among those that would be sparse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_dense: Vec<String>,
    /// Blocks of layers whose pattern is given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, usize>,
}

impl LayerSparsity {
    /// Whether every layer's sparsity is the network's.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Graph {
    /// Gives layers a sparsity of their own, before their parameters are declared.
    pub fn set_layer_sparsity(&mut self, layers: &LayerSparsity) {
        self.own.clone_from(layers);
    }

    /// Applies the layer's own sparsity to a parameter that is being declared.
    pub(super) fn apply_own(&mut self, spec: &mut ParamSpec) {
        let Some(grid) = spec.grid() else { return };
        let layer = layer_of(&spec.name).to_owned();
        if self.own.keep_dense.contains(&layer) {
            *spec = spec.clone().sparse(None);
        } else if let (Some(&count), Some(blocks)) = (self.own.blocks.get(&layer), spec.blocks()) {
            let density = count as f64 / (grid[0] * grid[1]) as f64;
            *spec = spec.clone().sparse(Some(blocks.density(density)));
        }
        self.sparse_layers.push(layer);
    }

    /// Refuses a sparsity of its own of a layer that is not there, or is dense in any case; names and sizes are checked once all
    /// parameters are declared.
    ///
    /// # Errors
    /// [`Error::Config`] with the names that there are.
    pub(crate) fn expect_own(&self) -> Result<()> {
        let LayerSparsity { keep_dense, blocks } = &self.own;
        let names = keep_dense.iter().map(|name| ("keep-dense", name));
        for (option, name) in names.chain(blocks.keys().map(|name| ("pattern", name))) {
            if !self.sparse_layers.contains(name) {
                let reason = match self.sparse_layers.as_slice() {
                    [] => format!("{name} is no sparse layer; the network has none"),
                    layers => format!("{name} is no sparse layer; there are {}", layers.join(", ")),
                };
                return Err(Error::Config { option, reason });
            }
        }
        if !keep_dense.is_empty() && !self.is_sparse() {
            let reason = "no layer is left sparse; store every layer densely instead".to_owned();
            return Err(Error::Config { option: "keep-dense", reason });
        }
        Ok(())
    }
}

/// Layer of a parameter: `layers.0` of `layers.0.weight`.
fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}
