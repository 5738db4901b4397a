//! Parameters of a trained network on the host.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Result;
use crate::graph::{Description, ParamDescription};
use crate::nn::{Row, gate_biases};
use crate::sparse::Topology;
use crate::train::Checkpoint;

/// A trained network: its description, and the elements of its parameters.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) description: Description,
    /// Rows that the network reads, without padding.
    pub(super) row: Row,
    /// Seed of what is drawn, such as the hashes of a gate.
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
        Ok(Self { state, row: model.row(), seed: model.seed(), params, description })
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
    let (name, Some(blocks)) = (&param.name, param.blocks) else {
        return Ok(Stored::Dense(checkpoint.get(path, &param.name, &param.shape)?.to_vec()));
    };
    let block = blocks.block;
    let all = checkpoint.topology(path, name, [param.shape[0], param.shape[1]], block)?;
    let shape = [all.nnz(), block, block];
    let values = checkpoint.get(path, &format!("{name}.values"), &shape)?;
    // Checkpoints hold blocks in row order, inactive ones among them.
    let (active, places): (_, Vec<_>) = (all.active(), all.coordinates().collect());
    let (mut coordinates, mut kept) = (Vec::new(), Vec::new());
    for (block_values, slot) in values.chunks(block * block).zip(all.row_order()) {
        if active[slot] {
            let (row, col) = places[slot];
            coordinates.push((row as u32, col as u32));
            kept.extend_from_slice(block_values);
        }
    }
    let topology = Topology::from_coordinates(all.rows(), all.cols(), block, &coordinates)?;
    let values = param.without_padding(&topology, kept);
    Ok(Stored::Sparse(topology, values))
}
