//! safetensors of dense weights, and of block-sparse weights by their parts.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::trained::{Stored, Trained};
use crate::train::{TensorData, Values};
use crate::{Error, Result};

/// Tensors of a file, by name.
pub(super) type Tensors = BTreeMap<String, TensorData>;

/// Every weight dense, `[out, in]`, under its name.
pub(super) fn dense(trained: &Trained, path: &Path) -> Result<Vec<u8>> {
    serialize(&dense_tensors(trained), path)
}

pub(super) fn dense_tensors(trained: &Trained) -> Tensors {
    let mut tensors = state(trained);
    for (param, _) in trained.params() {
        let (shape, values) = trained.dense(param);
        tensors.insert(param.name.clone(), TensorData { shape, values: Values::F32(values) });
    }
    tensors
}

/// Block-sparse weights as `NAME.crow_indices`, `.col_indices` and `.values`, whole blocks, with the shape without padding in `.shape`;
/// everything else as in [`dense`].
pub(super) fn bsr(trained: &Trained, path: &Path) -> Result<Vec<u8>> {
    let mut tensors = state(trained);
    let words = |words: Vec<u32>| TensorData {
        shape: vec![words.len()],
        // A topology has fewer than 2^31 blocks, rows and columns.
        values: Values::I32(words.into_iter().map(|word| word as i32).collect()),
    };
    for (param, stored) in trained.params() {
        let name = &param.name;
        let Stored::Sparse(topology, values) = stored else {
            let (shape, values) = trained.dense(param);
            tensors.insert(name.clone(), TensorData { shape, values: Values::F32(values) });
            continue;
        };
        let (crow, col) = topology.csr();
        tensors.insert(format!("{name}.crow_indices"), words(crow));
        tensors.insert(format!("{name}.col_indices"), words(col));
        let sides = param.real_shape().into_iter().map(|side| side as u32).collect();
        tensors.insert(format!("{name}.shape"), words(sides));
        let shape = vec![topology.nnz(), topology.block(), topology.block()];
        let values = Values::F32(values.clone());
        tensors.insert(format!("{name}.values"), TensorData { shape, values });
    }
    serialize(&tensors, path)
}

fn state(trained: &Trained) -> Tensors {
    let tensor =
        |values: &Vec<f32>| TensorData { shape: vec![values.len()], values: Values::F32(values.clone()) };
    trained.state.iter().map(|(name, values)| (name.clone(), tensor(values))).collect()
}

/// The file. Its header names PyTorch's layout, which readers of the format ask for.
pub(super) fn serialize(tensors: &Tensors, path: &Path) -> Result<Vec<u8>> {
    let header = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(tensors, Some(header)).map_err(|error| Error::Checkpoint {
        path: path.to_owned(),
        reason: format!("cannot be exported: {error}"),
    })
}
