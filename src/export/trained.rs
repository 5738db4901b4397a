//! Parameters of a trained network on the host.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Result;
use crate::graph::{Description, ParamDescription};
#[cfg(feature = "onnx")]
use crate::nn::Row;
use crate::nn::gate_biases;
use crate::sparse::Topology;
use crate::train::Checkpoint;

/// A trained network: its description, and the elements of its parameters.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) description: Description,
    /// Rows that the network reads, without padding.
    #[cfg(feature = "onnx")]
    pub(super) row: Row,
    /// Seed of what is drawn, such as the hashes of a gate.
    #[cfg(feature = "onnx")]
    pub(super) seed: u64,
    params: BTreeMap<String, Stored>,
    /// State that is part of the function besides parameters: biases of gates, by name.
    pub(super) state: BTreeMap<String, Vec<f32>>,
}

/// Elements of a parameter as they are stored, padding included.
#[derive(Debug)]
pub(super) enum Stored {
    Dense(Vec<f32>),
    /// Active blocks, in row order.
    Sparse(Topology, Vec<f32>),
}

impl Trained {
    /// The network of a checkpoint that was read from `path`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) if a parameter is missing or of another shape.
    pub(super) fn of(checkpoint: &Checkpoint, path: &Path) -> Result<Self> {
        let model = &checkpoint.settings.model;
        let description = model.description()?;
        let mut params = BTreeMap::new();
        for param in &description.params {
            params.insert(param.name.clone(), stored(checkpoint, path, param)?);
        }
        let mut state = BTreeMap::new();
        for (name, experts) in gate_biases(&description) {
            let values = checkpoint.get(path, &name, &[experts])?.to_vec();
            state.insert(name, values);
        }
        Ok(Self {
            state,
            #[cfg(feature = "onnx")]
            row: model.row(),
            #[cfg(feature = "onnx")]
            seed: model.seed(),
            params,
            description,
        })
    }

    /// Parameters in the order in which they were declared, with their elements.
    pub(super) fn params(&self) -> impl Iterator<Item = (&ParamDescription, &Stored)> {
        self.description.params.iter().filter_map(|param| Some((param, self.params.get(&param.name)?)))
    }

    /// Shape and elements of a parameter, without padding, and with zeros where there is no block.
    pub(super) fn dense(&self, param: &ParamDescription) -> (Vec<usize>, Vec<f32>) {
        let values = match self.params.get(&param.name) {
            Some(Stored::Dense(values)) => param.trim(values),
            Some(Stored::Sparse(topology, values)) => param.trim(&topology.scatter(values)),
            None => Vec::new(),
        };
        (param.real_shape(), values)
    }
}

fn stored(checkpoint: &Checkpoint, path: &Path, param: &ParamDescription) -> Result<Stored> {
    if param.blocks.is_none() {
        return Ok(Stored::Dense(checkpoint.get(path, &param.name, &param.shape)?.to_vec()));
    }
    let (topology, values) = checkpoint.active_blocks(path, param)?;
    let values = param.without_padding(&topology, values);
    Ok(Stored::Sparse(topology, values))
}
