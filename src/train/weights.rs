//! Weights that others trained, or that a run exported, and patterns: a safetensors file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::checkpoint::is_checkpoint;
use super::tensor_data::{TensorData, Values};
use crate::data::Fingerprint;
use crate::files;
use crate::graph::ParamDescription;
use crate::sparse::Topology;
use crate::{Error, Result};

/// Parts of a block-sparse tensor `NAME`, as `NAME.crow_indices`.
const PARTS: [&str; 4] = ["crow_indices", "col_indices", "values", "shape"];

/// Weights to start from, by PyTorch's names: dense tensors (`layers.0.weight`, `[out, in]`), and the parts of block-sparse ones
/// (`layers.0.weight.crow_indices`, `.col_indices`, `.values`). A pattern needs no values.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    path: PathBuf,
    fingerprint: Fingerprint,
    tensors: BTreeMap<String, TensorData>,
    /// Parameters that the file may lack, which stay as they are drawn.
    drawn: BTreeSet<String>,
}

impl Weights {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] as [`Weights::from_bytes`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_bytes(path, &files::read(path, files::most_bytes())?)
    }

    /// Reads the bytes of a file: floats of 32 bits, or of 16 (f16, bf16), which are widened, and indices of 32 or 64 bits.
    ///
    /// # Errors
    /// [`Error::Data`] for what is no safetensors file, for a checkpoint, whose state of optimizer and method would be lost, and for a
    /// tensor of another type, or with a number that is not finite or an index beyond 31 bits.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| bad(format!("is no whole safetensors file: {error}")))?;
        if is_checkpoint(bytes) {
            let reason = "is a checkpoint; export its weights with `fretwork export`, or resume its run";
            return Err(bad(reason.to_owned()));
        }
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = values(&view).map_err(|reason| bad(format!("{name} {reason}")))?;
            tensors.insert(name.to_owned(), TensorData { shape: view.shape().to_vec(), values });
        }
        Ok(Self {
            path: path.to_owned(),
            fingerprint: Fingerprint::of_bytes(bytes),
            tensors,
            drawn: BTreeSet::new(),
        })
    }

    /// CRC-32 of the file.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn bad(&self, reason: String) -> Error {
        Error::Data { path: self.path.clone(), reason }
    }

    /// Whether the file has a weight of this name, dense or by its parts.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name) || self.has_pattern(name)
    }

    pub(super) fn put(&mut self, name: String, tensor: TensorData) {
        self.tensors.insert(name, tensor);
    }

    /// Removes a weight, dense or by its parts.
    pub(super) fn remove(&mut self, name: &str) {
        self.tensors.remove(name);
        PARTS.iter().for_each(|part| drop(self.tensors.remove(&format!("{name}.{part}"))));
    }

    /// Leaves a parameter that the file lacks as it is drawn.
    pub(super) fn leave_drawn(&mut self, name: String) {
        if !self.has(&name) {
            self.drawn.insert(name);
        }
    }

    /// Whether a parameter stays as it is drawn.
    pub(super) fn is_drawn(&self, name: &str) -> bool {
        self.drawn.contains(name)
    }

    /// Whether the file has the pattern of a weight of this name.
    pub fn has_pattern(&self, name: &str) -> bool {
        self.tensors.contains_key(&format!("{name}.crow_indices"))
    }

    /// Names of weights of which the file has a pattern.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().filter_map(|name| name.strip_suffix(".crow_indices"))
    }

    /// Names of all weights, those of block-sparse ones without their parts.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(|name| match name.rsplit_once('.') {
            Some((weight, part)) if PARTS.contains(&part) && self.has_pattern(weight) => weight,
            _ => name,
        })
    }

    fn indices(&self, name: &str) -> Result<Vec<u32>> {
        match self.tensors.get(name).map(|tensor| &tensor.values) {
            Some(Values::I32(indices)) => indices
                .iter()
                .map(|&index| {
                    u32::try_from(index).map_err(|_| self.bad(format!("{name} has the index {index}")))
                })
                .collect(),
            Some(Values::F32(_)) => Err(self.bad(format!("{name} holds floats, should hold indices"))),
            None => Err(self.bad(format!("has no tensor {name}"))),
        }
    }

    /// Blocks of a weight by the file's pattern, validated, in row order.
    ///
    /// # Errors
    /// [`Error::Data`] naming the tensor and its fault.
    pub(super) fn topology(&self, param: &ParamDescription, block: usize) -> Result<Topology> {
        let name = &param.name;
        let &[rows, cols] = param.shape.as_slice() else {
            return Err(self.bad(format!("{name} is block-sparse, should be of shape {:?}", param.shape)));
        };
        if self.tensors.contains_key(&format!("{name}.shape")) {
            let (found, wanted) = (self.indices(&format!("{name}.shape"))?, param.real_shape());
            if found.iter().map(|&side| side as usize).ne(wanted.iter().copied()) {
                return Err(self.bad(format!("{name} is of shape {found:?}, should be of {wanted:?}")));
            }
        }
        let part = |part: &str| self.indices(&format!("{name}.{part}"));
        let (crow, col) = (part("crow_indices")?, part("col_indices")?);
        if let Some(tensor) = self.tensors.get(&format!("{name}.values")) {
            let wanted = [col.len(), block, block];
            if tensor.shape != wanted {
                let found = &tensor.shape;
                return Err(self.bad(format!("{name}.values has shape {found:?}, should have {wanted:?}")));
            }
        }
        let topology = Topology::from_csr(rows, cols, block, &crow, &col)
            .map_err(|error| self.bad(format!("{name}: {error}")))?;
        if topology.nnz() == 0 {
            return Err(self.bad(format!("{name} has no block")));
        }
        Ok(topology)
    }

    /// Side of the blocks of a weight that the file has by its parts.
    fn block(&self, name: &str) -> Result<usize> {
        let name = format!("{name}.values");
        let tensor = self.tensors.get(&name).ok_or_else(|| self.bad(format!("has no tensor {name}")))?;
        match tensor.shape.as_slice() {
            &[_, rows, cols] if rows == cols => Ok(rows),
            shape => Err(self.bad(format!("{name} has shape {shape:?}, should be square blocks"))),
        }
    }

    /// Values of a topology's blocks, in slot order: blocks that the file's own pattern lacks are 0, and so is padding.
    ///
    /// # Errors
    /// As [`Weights::dense`].
    pub(super) fn blocks(&self, param: &ParamDescription, topology: &Topology) -> Result<Vec<f32>> {
        if !self.has_pattern(&param.name) {
            return Ok(topology.gather(&self.dense(param)?));
        }
        let own = self.topology(param, topology.block())?;
        let values = self.block_values(param, &own)?;
        let size = topology.block() * topology.block();
        let slots: HashMap<usize, usize> =
            own.places().enumerate().map(|(slot, place)| (place, slot)).collect();
        let block = |place| match slots.get(&place) {
            Some(slot) => &values[slot * size..][..size],
            None => &[],
        };
        let padded =
            |block: &[f32]| (0..size).map(|at| block.get(at).copied().unwrap_or(0.0)).collect::<Vec<_>>();
        Ok(topology.places().flat_map(|place| padded(block(place))).collect())
    }

    /// Values of the blocks of [`Weights::topology`]; padding is 0.
    fn block_values(&self, param: &ParamDescription, topology: &Topology) -> Result<Vec<f32>> {
        let name = format!("{}.values", param.name);
        match self.tensors.get(&name).map(|tensor| &tensor.values) {
            Some(Values::F32(values)) => Ok(param.without_padding(topology, values.clone())),
            Some(Values::I32(_)) => Err(self.bad(format!("{name} holds indices, should hold floats"))),
            None => Err(self.bad(format!("has no tensor {name}"))),
        }
    }

    /// Elements of a parameter with its padding, row by row, from a dense tensor or from a block-sparse one.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing or of another shape.
    pub(super) fn dense(&self, param: &ParamDescription) -> Result<Vec<f32>> {
        let name = &param.name;
        let Some(tensor) = self.tensors.get(name) else {
            if !self.has_pattern(name) {
                return Err(self.bad(format!("has no tensor {name}")));
            }
            let topology = self.topology(param, self.block(name)?)?;
            return Ok(topology.scatter(&self.block_values(param, &topology)?));
        };
        let wanted = param.real_shape();
        match &tensor.values {
            Values::F32(values) if tensor.shape == wanted => Ok(param.pad(values)),
            Values::F32(_) => {
                Err(self.bad(format!("{name} has shape {:?}, should have {wanted:?}", tensor.shape)))
            }
            Values::I32(_) => Err(self.bad(format!("{name} holds indices, should hold floats"))),
        }
    }

    /// Floats of a tensor, whatever it is.
    pub(super) fn floats(&self, name: &str) -> Option<(&[usize], &[f32])> {
        let tensor = self.tensors.get(name)?;
        match &tensor.values {
            Values::F32(values) => Some((&tensor.shape, values)),
            Values::I32(_) => None,
        }
    }
}

/// Numbers of a tensor, or what is wrong with them.
fn values(view: &TensorView<'_>) -> Result<Values, String> {
    let data = view.data();
    let floats = |floats: Vec<f32>| match floats.iter().position(|float| !float.is_finite()) {
        Some(at) => Err(format!("has {} at element {at}; weights must be finite", floats[at])),
        None => Ok(Values::F32(floats)),
    };
    match view.dtype() {
        Dtype::F32 => floats(bytemuck::pod_collect_to_vec(data)),
        Dtype::F16 => {
            let halves: Vec<u16> = bytemuck::pod_collect_to_vec(data);
            floats(halves.into_iter().map(|bits| f16::from_bits(bits).to_f32()).collect())
        }
        Dtype::BF16 => {
            let halves: Vec<u16> = bytemuck::pod_collect_to_vec(data);
            floats(halves.into_iter().map(|bits| bf16::from_bits(bits).to_f32()).collect())
        }
        Dtype::I32 => Ok(Values::I32(bytemuck::pod_collect_to_vec(data))),
        Dtype::I64 => {
            let wide: Vec<i64> = bytemuck::pod_collect_to_vec(data);
            let narrow =
                |wide: i64| i32::try_from(wide).map_err(|_| format!("has the index {wide}, beyond 31 bits"));
            Ok(Values::I32(wide.into_iter().map(narrow).collect::<Result<_, _>>()?))
        }
        other => Err(format!("is of type {other:?}; floats of 16 or 32 bits and indices are read")),
    }
}
