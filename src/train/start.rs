//! First topologies and values of a run's parameters, where they come from files.

use std::collections::HashMap;

use super::{Settings, Weights};
use crate::gpu::Gpu;
use crate::graph::{Description, Network, ParamDescription};
use crate::nn::{ModelConfig, gate_biases};
use crate::sparse::Topology;
use crate::{Error, Result};

/// Files that a run begins with. Without one, patterns and weights are drawn.
#[derive(Debug, Clone, Default)]
pub struct StartFrom {
    /// Weights of all parameters.
    pub weights: Option<Weights>,
    /// Patterns of all sparse layers, in the place of drawn ones, or of those that the weights have.
    pub pattern: Option<Weights>,
}

impl Settings {
    /// Settings of a run that begins with these files: their fingerprints, and the blocks of the layers whose patterns they have. A
    /// pattern's file must have all sparse layers, and no other. Returns notices for the user: biases that experts cannot take over from
    /// feed-forward networks.
    ///
    /// # Errors
    /// [`Error::Data`] naming the tensor that is missing, of no layer, or no topology of its layer.
    pub fn start_from(&mut self, from: &StartFrom) -> Result<Vec<String>> {
        if let (ModelConfig::Mlps(_), false) = (&self.model, from.weights.is_none() && from.pattern.is_none())
        {
            let option = if from.weights.is_some() { "init-from" } else { "pattern" };
            let reason =
                "networks that are trained together begin with weights and patterns of their own seeds";
            return Err(Error::Config { option, reason: reason.to_owned() });
        }
        self.origin.weights = from.weights.as_ref().map(Weights::fingerprint);
        self.origin.pattern = from.pattern.as_ref().map(Weights::fingerprint);
        self.model.validate()?;
        let description = self.model.description()?;
        let notices = match &from.weights {
            Some(weights) => weights.upcycled(&description)?.1,
            None => Vec::new(),
        };
        let Some(layers) = self.model.layer_sparsity() else { return Ok(notices) };
        for param in &description.params {
            let Some(block) = param.blocks.map(|blocks| blocks.block) else { continue };
            if let Some(file) = from.pattern_of(&param.name) {
                let layer = param.name.strip_suffix(".weight").unwrap_or(&param.name);
                layers.blocks.insert(layer.to_owned(), file.topology(param, block)?.nnz());
            }
        }
        from.expect_patterns(&description)?;
        Ok(notices)
    }
}

impl StartFrom {
    /// The file that has the pattern of a weight.
    fn pattern_of(&self, name: &str) -> Option<&Weights> {
        let files = self.pattern.iter().chain(&self.weights);
        files.into_iter().find(|file| file.has_pattern(name))
    }

    /// Refuses a pattern's file that lacks a sparse layer, or has a layer that is not sparse.
    fn expect_patterns(&self, description: &Description) -> Result<()> {
        let Some(pattern) = &self.pattern else { return Ok(()) };
        let sparse: Vec<&str> = description
            .params
            .iter()
            .filter(|param| param.blocks.is_some())
            .map(|param| param.name.as_str())
            .collect();
        if let Some(name) = sparse.iter().find(|name| !pattern.has_pattern(name)) {
            return Err(pattern.bad(format!("has no pattern {name}.crow_indices of the sparse layer")));
        }
        match pattern.patterns().find(|name| !sparse.contains(name)) {
            Some(name) => {
                Err(pattern.bad(format!("has a pattern of {name}; sparse are {}", sparse.join(", "))))
            }
            None => Ok(()),
        }
    }

    /// Refuses settings of other files.
    pub(super) fn expect_settings(&self, settings: &Settings) -> Result<()> {
        let files = [
            ("init-from", settings.origin.weights, &self.weights),
            ("pattern", settings.origin.pattern, &self.pattern),
        ];
        for (option, wanted, file) in files {
            let found = file.as_ref().map(Weights::fingerprint);
            if wanted != found {
                let words = |fingerprint: Option<_>| match fingerprint {
                    Some(fingerprint) => format!("a file with the fingerprint {fingerprint}"),
                    None => "no file".to_owned(),
                };
                let reason = format!("the settings are of {}, but {} is given", words(wanted), words(found));
                return Err(Error::Config { option, reason });
            }
        }
        Ok(())
    }

    /// First topologies and values of a network's parameters. All files are read and validated here, before anything is allocated.
    ///
    /// # Errors
    /// [`Error::Data`] for a pattern of another number of blocks than the run stores at the start, and for a tensor that is missing, of
    /// another shape, or of no parameter.
    pub(super) fn first(&self, settings: &Settings, stored: Option<f64>) -> Result<First> {
        if self.weights.is_none() && self.pattern.is_none() {
            return Ok(First { topologies: settings.model.topologies(stored)?, values: Vec::new() });
        }
        let description = settings.model.description()?;
        let weights = self.weights.as_ref().map(|weights| weights.upcycled(&description)).transpose()?;
        let weights = weights.map(|(weights, _)| weights);
        if let Some(weights) = &weights {
            expect_names(weights, &description)?;
        }
        let layers = settings.model.layers()?.into_iter().zip(settings.model.counts(stored)?);
        let counts: HashMap<String, usize> =
            layers.map(|(layer, count)| (format!("{}.weight", layer.name), count)).collect();
        let (mut topologies, mut values) = (Vec::new(), Vec::new());
        for param in &description.params {
            let topology = match (param.blocks, counts.get(&param.name)) {
                (Some(blocks), Some(&count)) => {
                    Some(self.topology(weights.as_ref(), param, blocks.block, count)?)
                }
                _ => None,
            };
            if let Some(weights) = weights.as_ref().filter(|weights| !weights.is_drawn(&param.name)) {
                let read = match &topology {
                    Some(topology) => weights.blocks(param, topology)?,
                    None => weights.dense(param)?,
                };
                values.push((param.name.clone(), read));
            }
            if counts.contains_key(&param.name) {
                topologies.push(topology);
            }
        }
        // Heads come last, and are dense and drawn.
        topologies.resize(counts.len(), None);
        let Some(weights) = &weights else { return Ok(First { topologies, values }) };
        for (name, experts) in gate_biases(&description) {
            let Some((shape, read)) = weights.floats(&name) else { continue };
            if shape != [experts] {
                let reason = format!("{name} has shape {shape:?}, should have [{experts}]");
                return Err(weights.bad(reason));
            }
            values.push((name, read.to_vec()));
        }
        Ok(First { topologies, values })
    }

    fn topology(
        &self,
        weights: Option<&Weights>,
        param: &ParamDescription,
        block: usize,
        count: usize,
    ) -> Result<Topology> {
        if let Some(file) = self.pattern_of(&param.name) {
            let topology = file.topology(param, block)?;
            if topology.nnz() != count {
                return Err(file.bad(format!(
                    "{} has {} blocks, but the run begins with {count} there, by its sparsity or its method",
                    param.name,
                    topology.nnz()
                )));
            }
            return Ok(topology);
        }
        match weights {
            Some(weights) => largest_blocks(param, &weights.dense(param)?, block, count),
            None => {
                Err(Error::Config { option: "pattern", reason: format!("there is none of {}", param.name) })
            }
        }
    }
}

/// How a network begins.
#[derive(Debug)]
pub(super) struct First {
    /// Topology of each matrix; `None` for dense ones.
    pub(super) topologies: Vec<Option<Topology>>,
    /// Values of parameters and of state, by name, in slot order; those that are not here are drawn.
    values: Vec<(String, Vec<f32>)>,
}

impl First {
    /// Writes the values into the network.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub(super) fn write(&self, gpu: &Gpu, network: &Network) -> Result<()> {
        let state = network.state();
        for (name, values) in &self.values {
            match state.iter().find(|(state, _)| state == name) {
                Some((_, tensor)) => gpu.write(tensor, values)?,
                None => gpu.write(network.store().by_name(name)?.values(), values)?,
            }
        }
        Ok(())
    }
}

/// Refuses tensors that are of no parameter.
fn expect_names(weights: &Weights, description: &Description) -> Result<()> {
    let state: Vec<String> = gate_biases(description).map(|(name, _)| name).collect();
    let params = || description.params.iter().map(|param| param.name.as_str());
    let known = |name: &&str| params().any(|param| param == *name) || state.iter().any(|state| state == name);
    match weights.names().find(|name| !known(name)) {
        Some(name) => {
            let names: Vec<&str> = params().collect();
            Err(weights.bad(format!("has {name}, which is no parameter; there are {}", names.join(", "))))
        }
        None => Ok(()),
    }
}

/// The topology of the `count` blocks with the largest sums of magnitudes, of equals the first.
fn largest_blocks(param: &ParamDescription, dense: &[f32], block: usize, count: usize) -> Result<Topology> {
    let [rows, cols] = [param.shape[0], param.shape[1]];
    let mut sums = vec![0.0f64; rows / block * (cols / block)];
    for (at, value) in dense.iter().enumerate() {
        sums[at / cols / block * (cols / block) + at % cols / block] += f64::from(value.abs());
    }
    let mut order: Vec<usize> = (0..sums.len()).collect();
    order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]).then(a.cmp(&b)));
    order.truncate(count);
    order.sort_unstable();
    let place = |place: usize| ((place / (cols / block)) as u32, (place % (cols / block)) as u32);
    let blocks: Vec<_> = order.into_iter().map(place).collect();
    Topology::from_coordinates(rows, cols, block, &blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::blocks;

    #[test]
    fn the_largest_blocks_are_kept_of_equals_the_first() {
        let param = ParamDescription {
            name: "weight".to_owned(),
            shape: vec![16, 24],
            blocks: Some(blocks(8)),
            extent: [None, None],
            draws_padding: false,
        };
        // Signs cancel in no sum; block (0, 2) equals block (1, 0).
        let sum = |row: usize, col: usize| [[1.0, 0.5, 2.0], [2.0, 3.0, 0.0]][row][col];
        let dense: Vec<f32> = (0..16 * 24)
            .map(|at| {
                let (row, col) = (at / 24, at % 24);
                sum(row / 8, col / 8) * if (row + col) % 2 == 0 { 1.0 } else { -1.0 }
            })
            .collect();
        let kept =
            |count| largest_blocks(&param, &dense, 8, count).unwrap().coordinates().collect::<Vec<_>>();
        assert_eq!(kept(2), [(0, 2), (1, 1)]);
        assert_eq!(kept(4), [(0, 0), (0, 2), (1, 0), (1, 1)]);
    }
}
