//! A graph's description as exports and checkpoints read it.

use serde::Deserialize;

use super::extent::zero_padding;
use super::{Blocks, Extent};
use crate::sparse::Topology;
use crate::{Error, Result};

/// A network in words: what [`Graph::describe`](super::Graph::describe) gives, read back.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    /// Inputs, in order.
    pub inputs: Vec<InputDescription>,
    /// Values that the network gives, in order.
    pub outputs: Vec<String>,
    /// Operations, in the order in which they are computed.
    pub nodes: Vec<NodeDescription>,
    /// Parameters, in the order in which they were declared.
    pub params: Vec<ParamDescription>,
}

impl Description {
    /// The parameter of this name.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that no parameter has.
    pub fn param(&self, name: &str) -> Result<&ParamDescription> {
        self.params
            .iter()
            .find(|param| param.name == name)
            .ok_or_else(|| Error::argument("description", "parameter", "one of the network", name))
    }
}

/// An input of a network.
#[derive(Debug, Clone, Deserialize)]
pub struct InputDescription {
    /// Its name.
    pub name: String,
    /// The value that holds it.
    pub value: String,
}

/// An operation.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeDescription {
    /// Kind of the operation: `linear`.
    pub kind: String,
    /// Its options.
    pub options: serde_json::Value,
    /// Scope and kind, as errors name it: `layers.0 (linear)`.
    pub name: String,
    /// Values that it reads.
    pub inputs: Vec<String>,
    /// Values that it makes.
    pub outputs: Vec<String>,
    /// Names of its parameters, in its own order.
    pub params: Vec<String>,
}

impl NodeDescription {
    /// A name within the node's scope: `blocks.0.feed.bias`.
    pub fn within(&self, name: &str) -> String {
        match self.name.split_once(" (") {
            Some((scope, _)) => format!("{scope}.{name}"),
            None => name.to_owned(),
        }
    }
}

/// A parameter.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ParamDescription {
    /// Its name: `layers.0.weight`.
    pub name: String,
    /// Shape as it is stored, padding included.
    pub shape: Vec<usize>,
    /// Block sparsity; `None` for a dense parameter.
    pub blocks: Option<Blocks>,
    /// Rows and columns that count; `None` for all.
    #[serde(default)]
    pub extent: [Option<Extent>; 2],
    /// Whether padding columns are drawn, and have no effect: those of a network's inputs.
    #[serde(default)]
    pub draws_padding: bool,
}

impl ParamDescription {
    /// Shape without padding.
    pub fn real_shape(&self) -> Vec<usize> {
        let real = |(axis, &side): (usize, &usize)| self.lines(axis).map_or(side, Extent::count);
        self.shape.iter().enumerate().map(real).collect()
    }

    /// Lines of an axis that count, where others pad it.
    pub fn lines(&self, axis: usize) -> Option<&Extent> {
        self.extent.get(axis)?.as_ref()
    }

    /// Elements without padding, of elements `[rows, cols]` or `[rows]` with it.
    pub fn trim(&self, values: &[f32]) -> Vec<f32> {
        let cols = self.shape.get(1).copied().unwrap_or(1);
        let lines = |axis: usize, side: usize| -> Vec<usize> {
            self.lines(axis).map_or((0..side).collect(), |extent| extent.lines().collect())
        };
        let columns = lines(1, cols);
        let rows = lines(0, values.len() / cols.max(1));
        rows.iter().flat_map(|row| columns.iter().map(move |col| values[row * cols + col])).collect()
    }

    /// Values of the blocks of a topology, in slot order, with padding set to 0.
    pub fn without_padding(&self, topology: &Topology, mut values: Vec<f32>) -> Vec<f32> {
        zero_padding(&self.extent, &self.shape, Some(topology), &mut values);
        values
    }

    /// Whether some elements are padding.
    pub fn has_padding(&self) -> bool {
        self.extent.iter().any(Option::is_some)
    }

    /// Number of stored elements that are padding, that of inputs included: of a topology's blocks, or of the whole shape.
    pub fn padding(&self, topology: Option<&Topology>) -> usize {
        if !self.has_padding() {
            return 0;
        }
        let Some(topology) = topology else {
            let sides = self.shape.iter().zip(self.extent.iter().chain(std::iter::repeat(&None)));
            let sides = sides.map(|(&side, extent)| extent.as_ref().map_or(side, Extent::count));
            return self.shape.iter().product::<usize>() - sides.product::<usize>();
        };
        let mut ones = vec![1.0; topology.elements()];
        zero_padding(&self.extent, &self.shape, Some(topology), &mut ones);
        ones.into_iter().filter(|&one| one == 0.0).count()
    }

    /// Inverse of [`ParamDescription::trim`]: padding is 0.
    pub fn pad(&self, values: &[f32]) -> Vec<f32> {
        let cols = self.shape.get(1).copied().unwrap_or(1);
        let rows = self.shape.first().copied().unwrap_or(1);
        let mut padded = vec![0.0; rows * cols];
        let mut values = values.iter();
        let mask = |axis, side| self.lines(axis).map_or(vec![true; side], |extent| extent.mask(side));
        let [row_mask, col_mask] = [mask(0, rows), mask(1, cols)];
        for row in (0..rows).filter(|&row| row_mask[row]) {
            for col in (0..cols).filter(|&col| col_mask[col]) {
                if let Some(&value) = values.next() {
                    padded[row * cols + col] = value;
                }
            }
        }
        padded
    }
}
