//! Checkpoints: everything a run needs to go on, in one safetensors file.
//!
//! Names are PyTorch's: `layers.0.weight` is `[out, in]`. A block-sparse weight is stored as PyTorch's BSR tensors are, in
//! row order: `layers.0.weight.crow_indices`, `.col_indices` and `.values`. An optimizer's state is stored likewise under
//! `optimizer.`. Settings, position and a checksum over everything stand in the header.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View as _};
use serde_json::Value;
use serde_json::value::RawValue;

use super::restore::Restore;
use super::tensor_data::{TensorData, Values};
use super::{Best, Settings};
use crate::data::{Encoding, Fingerprint};
use crate::gpu::Gpu;
use crate::graph::{FanIn, Layer, Network, Param, ParamDescription, Start};
use crate::nn::HEADS;
use crate::sparse::Topology;
use crate::{Error, Result};

/// Where in a run a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Steps done.
    pub step: u64,
    /// Steps among them that an update of topologies replaced, so that no weight moved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replaced: u64,
    /// The sum of losses over the rows of the current epoch so far.
    pub loss_sum: f32,
    /// Rows of the current epoch that were classified right so far.
    pub hits: f32,
    /// The best epoch so far, in a run that validates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Position {
    /// Steps in which the optimizer was to move weights.
    pub(super) fn moves(self) -> u32 {
        self.step.saturating_sub(self.replaced) as u32
    }
}

/// A run, frozen.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Settings of the run.
    pub settings: Settings,
    /// How far it is.
    pub position: Position,
    /// State of the method on the host.
    pub memory: Value,
    /// The fingerprint of the data; none in a checkpoint of a version that took none.
    pub fingerprint: Option<Fingerprint>,
    /// How rows of files are encoded; none for a text, for rows of a program's own, and in a checkpoint of a version that kept none.
    pub encoding: Option<Encoding>,
    pub(super) tensors: BTreeMap<String, TensorData>,
}

/// Beginning of [`FORMAT`] in all versions.
const FORMAT_PREFIX: &str = "fretwork.checkpoint.";
/// Key of the header's entry: the format and its version.
const FORMAT: &str = "fretwork.checkpoint.3";
/// Keys of older versions, which are read and not written. The settings of both have the options of all methods; the checksum of
/// version 1 is without the types of tensors.
const OLDER: [&str; 2] = ["fretwork.checkpoint.2", "fretwork.checkpoint.1"];

impl Checkpoint {
    /// A checkpoint with no tensors and no fingerprint yet.
    pub fn new(settings: Settings, position: Position, memory: Value) -> Self {
        Self { settings, position, memory, fingerprint: None, encoding: None, tensors: BTreeMap::new() }
    }

    /// Adds a dense tensor.
    pub fn put(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        let tensor = TensorData { shape: shape.to_vec(), values: Values::F32(values) };
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// Adds words: a set of blocks, a count.
    pub fn put_words(&mut self, name: &str, words: &[u32]) {
        // The format has no unsigned words; the bits are the same.
        let values = Values::I32(words.iter().map(|&word| word as i32).collect());
        self.tensors.insert(name.to_owned(), TensorData { shape: vec![words.len()], values });
    }

    /// Words of a known number.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if they are missing, or more or fewer.
    pub fn words(&self, path: &Path, name: &str, count: usize) -> Result<Vec<u32>> {
        let bad = |reason| Error::Checkpoint { path: path.to_owned(), reason };
        match self.tensors.get(name).map(|tensor| &tensor.values) {
            Some(Values::I32(words)) if words.len() == count => {
                Ok(words.iter().map(|&word| word as u32).collect())
            }
            Some(_) => Err(bad(format!("{name} should hold {count} words"))),
            None => Err(bad(format!("has no tensor {name}"))),
        }
    }

    /// Adds values `[nnz, block, block]` in slot order, and their pattern, both in row order; and in which slots they were,
    /// where that is another order.
    pub fn put_sparse(&mut self, name: &str, topology: &Topology, values: &[f32]) {
        // A topology has fewer than 2^31 blocks: each has at least 64 of the 2^32 elements it may have.
        let (row_ptr, col_idx) = topology.csr();
        self.put_words(&format!("{name}.crow_indices"), &row_ptr);
        self.put_words(&format!("{name}.col_indices"), &col_idx);
        let active = topology.active();
        if active.contains(&false) {
            let active: Vec<u32> = active.into_iter().map(u32::from).collect();
            self.put_words(&format!("{name}.awake"), &topology.in_row_order(&active));
        }
        let slots: Vec<u32> = topology.row_order().into_iter().map(|slot| slot as u32).collect();
        if !slots.is_sorted() {
            self.put_words(&format!("{name}.slots"), &slots);
        }
        let shape = [topology.nnz(), topology.block(), topology.block()];
        self.put(&format!("{name}.values"), &shape, topology.in_row_order(values));
    }

    /// A dense tensor of a known shape.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is missing or of another shape.
    pub fn get(&self, path: &Path, name: &str, shape: &[usize]) -> Result<&[f32]> {
        let bad = |reason| Error::Checkpoint { path: path.to_owned(), reason };
        let tensor = self.tensors.get(name).ok_or_else(|| bad(format!("has no tensor {name}")))?;
        match &tensor.values {
            Values::F32(values) if tensor.shape == shape => Ok(values),
            Values::F32(_) => Err(bad(format!("{name} has shape {:?}, should have {shape:?}", tensor.shape))),
            Values::I32(_) => Err(bad(format!("{name} holds indices, should hold floats"))),
        }
    }

    /// Stored parameters, without padding.
    pub fn params_present(&self) -> usize {
        let others = ["optimizer.", "method.", "teachers."];
        let kept = |name: &str| {
            others.iter().any(|other| name.starts_with(other)) || name.split('.').any(|part| part == HEADS)
        };
        // Floats without a prefix are parameters; indices are their patterns.
        let floats = |tensor: &TensorData| matches!(tensor.values, Values::F32(_));
        let parameters = self.tensors.iter().filter(|(name, tensor)| !kept(name) && floats(tensor));
        let stored: usize = parameters.map(|(_, tensor)| tensor.shape.iter().product::<usize>()).sum();
        let padding = |param: &ParamDescription| {
            let sides = <[usize; 2]>::try_from(param.shape.as_slice());
            let topology = param
                .blocks
                .zip(sides.ok())
                .map(|(blocks, sides)| self.topology(Path::new(""), &param.name, sides, blocks.block).ok());
            match topology {
                Some(topology) => topology.map_or(0, |topology| param.padding(Some(&topology))),
                None => param.padding(None),
            }
        };
        let description = self.settings.model.description();
        stored
            - description
                .map_or(0, |description| description.params.iter().map(padding).sum::<usize>())
                .min(stored)
    }

    /// The pattern of a sparse weight `[rows, cols]`, validated.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is missing or no topology of that shape.
    pub fn topology(
        &self,
        path: &Path,
        name: &str,
        [rows, cols]: [usize; 2],
        block: usize,
    ) -> Result<Topology> {
        let bad = |reason| Error::Checkpoint { path: path.to_owned(), reason };
        let part = |part: &str| -> Result<Vec<u32>> {
            let name = format!("{name}.{part}");
            match self.tensors.get(&name).map(|tensor| &tensor.values) {
                Some(Values::I32(indices)) => indices
                    .iter()
                    .map(|&index| {
                        u32::try_from(index).map_err(|_| bad(format!("{name} has the index {index}")))
                    })
                    .collect(),
                Some(Values::F32(_)) => Err(bad(format!("{name} holds floats, should hold indices"))),
                None => Err(bad(format!("has no tensor {name}"))),
            }
        };
        let topology = Topology::from_csr(rows, cols, block, &part("crow_indices")?, &part("col_indices")?)
            .map_err(|error| bad(format!("{name}: {error}")))?;
        let nnz = topology.nnz();
        if nnz == 0 {
            return Err(bad(format!("{name} has no block")));
        }
        let optional = |part: &str| -> Result<Option<Vec<u32>>> {
            let name = format!("{name}.{part}");
            self.tensors.contains_key(&name).then(|| self.words(path, &name, nnz)).transpose()
        };
        let (slots, active) = (optional("slots")?, optional("awake")?);
        if slots.is_none() && active.is_none() {
            return Ok(topology);
        }
        // Coordinates and row-order index of the block in each slot.
        let slots = slots.unwrap_or_else(|| (0..nnz as u32).collect());
        let mut blocks = vec![None; nnz];
        for (at, (slot, (row, col))) in slots.into_iter().zip(topology.coordinates()).enumerate() {
            match blocks.get_mut(slot as usize) {
                Some(block @ None) => *block = Some(((row as u32, col as u32), at)),
                _ => return Err(bad(format!("{name}.slots has {slot} twice, or past its {nnz} blocks"))),
            }
        }
        if let Some(word) = active.iter().flatten().find(|&&word| word > 1) {
            return Err(bad(format!("{name}.awake has {word}, should have 0 or 1")));
        }
        let (coordinates, places): (Vec<_>, Vec<_>) = blocks.into_iter().flatten().unzip();
        let is_inactive = |slot: usize| active.as_ref().is_some_and(|active| active[places[slot]] == 0);
        Topology::with_inactive(rows, cols, block, &coordinates, is_inactive)
    }

    /// The patterns of the layers, those that are sparse, validated.
    ///
    /// # Errors
    /// As [`Checkpoint::topology`].
    pub fn topologies(&self, path: &Path) -> Result<Vec<Option<Topology>>> {
        let config = &self.settings.model;
        let topology = |layer: Layer| {
            let name = format!("{}.weight", layer.name);
            layer.block.map(|block| self.topology(path, &name, layer.sides, block)).transpose()
        };
        config.layers()?.into_iter().map(topology).collect()
    }

    /// A number for each element of a parameter of a known shape; in slot order where the parameter has a topology.
    ///
    /// # Errors
    /// As [`Checkpoint::get`].
    pub(super) fn in_slots(
        &self,
        path: &Path,
        name: &str,
        shape: &[usize],
        topology: Option<&Topology>,
    ) -> Result<Cow<'_, [f32]>> {
        let values = self.get(path, name, shape)?;
        Ok(topology.map_or(Cow::Borrowed(values), |topology| topology.in_slot_order(values).into()))
    }

    /// The network with its parameters and these patterns, its [own](Checkpoint::topologies), and memory for `batch` rows. No matrix
    /// of it gets another number of blocks.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if something of it is missing or of another shape, [`Error::OutOfMemory`].
    pub fn network(
        &self,
        gpu: &Gpu,
        path: &Path,
        topologies: &[Option<Topology>],
        batch: usize,
    ) -> Result<Network> {
        self.network_to_train(gpu, path, topologies, batch, true)
    }

    /// [`Checkpoint::network`] whose numbers of blocks are [`fixed`](Start::fixed) or not.
    pub(super) fn network_to_train(
        &self,
        gpu: &Gpu,
        path: &Path,
        topologies: &[Option<Topology>],
        batch: usize,
        fixed: bool,
    ) -> Result<Network> {
        // The weights that are drawn here are overwritten.
        let start = Start { fan_in: FanIn::All, topologies, fixed };
        let Settings { model, precision, recompute, .. } = &self.settings;
        let network = model.build(gpu, batch, start, *precision, *recompute)?;
        for (parameter, topology) in network.store().iter().zip(by_param(&network, topologies)) {
            let name = parameter.name();
            let name = if topology.is_some() { format!("{name}.values") } else { name.to_owned() };
            let values = self.in_slots(path, &name, parameter.values().shape(), topology)?;
            gpu.write(parameter.values(), &values)?;
        }
        let restore = Restore { gpu, checkpoint: self, path };
        network.state().into_iter().try_for_each(|(name, tensor)| restore.numbers(&name, tensor))?;
        Ok(network)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it cannot be written down.
    pub fn to_bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let bad = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
        let header = self.header().map_err(|error| bad(error.to_string()))?;
        // One entry, because the order of several would differ from run to run.
        let header = HashMap::from([(FORMAT.to_owned(), header)]);
        safetensors::serialize(&self.tensors, Some(header)).map_err(|error| bad(error.to_string()))
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if any of it is not as it was written.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let (checkpoint, [found, wanted]) = Self::parse(path, bytes)?;
        if found != wanted {
            let reason = format!("is damaged: its checksum is {found:08x}, should be {wanted:08x}");
            return Err(Error::Checkpoint { path: path.to_owned(), reason });
        }
        Ok(checkpoint)
    }

    /// The checkpoint in a file's bytes, and two checksums: that of the file, and the one in its header.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for a file that is no checkpoint of a known version.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<(Self, [u32; 2])> {
        let bad = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
        let (_, metadata) = SafeTensors::read_metadata(bytes)
            .map_err(|error| bad(format!("is no whole safetensors file: {error}")))?;
        let entries = metadata.metadata().as_ref();
        let entry = |key| entries.and_then(|entries| entries.get(key));
        let known = || [FORMAT].into_iter().chain(OLDER);
        let (format, text) = known().find_map(|key| Some((key, entry(key)?))).ok_or_else(|| {
            let keys: Vec<&String> = entries.iter().flat_map(|entries| entries.keys()).collect();
            let known: Vec<&str> = known().collect();
            bad(format!(
                "has none of the entries {known:?}, but {keys:?}: it is of another version or program"
            ))
        })?;
        let damaged = |error: serde_json::Error| bad(format!("its header is damaged: {error}"));
        let header: Header = serde_json::from_str(text).map_err(damaged)?;
        // The checksum covers the text of the header, which an older version may have written with other fields.
        let parts: HeaderText<'_> = serde_json::from_str(text).map_err(damaged)?;
        if !(header.position.loss_sum.is_finite() && header.position.hits.is_finite()) {
            return Err(bad("its position has sums that are not finite".to_owned()));
        }
        if let Some(best) =
            header.position.best.filter(|best| best.step.max(best.epoch) > header.position.step)
        {
            let step = header.position.step;
            return Err(bad(format!(
                "its best epoch, {}, is later than its position, step {step}",
                best.epoch
            )));
        }
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| bad(format!("is no whole safetensors file: {error}")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(bytemuck::pod_collect_to_vec(view.data())),
                Dtype::I32 => Values::I32(bytemuck::pod_collect_to_vec(view.data())),
                other => return Err(bad(format!("{name} is of type {other:?}"))),
            };
            tensors.insert(name.to_owned(), TensorData { shape: view.shape().to_vec(), values });
        }
        let Header { settings, position, memory, fingerprint, encoding, checksum } = header;
        if let Some(encoding) = &encoding {
            encoding.validate().map_err(&bad)?;
        }
        let checkpoint = Self { settings, position, memory, fingerprint, encoding, tensors };
        let HeaderText { settings, position, memory, encoding } = parts;
        let encoding = encoding.map_or("", RawValue::get);
        let json = format!("[{settings},{position},{memory}]");
        let found = checkpoint.checksum(&json, encoding, format != OLDER[1]);
        Ok((checkpoint, [found, checksum]))
    }

    fn header(&self) -> serde_json::Result<String> {
        let encoding = self.encoding.as_ref().map_or(Ok(String::new()), serde_json::to_string)?;
        let json = serde_json::to_string(&(&self.settings, self.position, &self.memory))?;
        serde_json::to_string(&Header {
            settings: self.settings.clone(),
            position: self.position,
            memory: self.memory.clone(),
            fingerprint: self.fingerprint,
            encoding: self.encoding.clone(),
            checksum: self.checksum(&json, &encoding, true),
        })
    }

    /// CRC-32 over the JSON of `[settings, position, memory]`, the fingerprint where there is one, the JSON of the encoding where
    /// there is one, and of every tensor name, shape, bytes and, with `types`, type.
    fn checksum(&self, json: &str, encoding: &str, types: bool) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(json.as_bytes());
        if let Some(fingerprint) = self.fingerprint {
            crc.update(fingerprint.to_string().as_bytes());
        }
        crc.update(encoding.as_bytes());
        for (name, tensor) in &self.tensors {
            crc.update(name.as_bytes());
            if types {
                crc.update(format!("{:?}", tensor.dtype()).as_bytes());
            }
            crc.update(format!("{:?}", tensor.shape).as_bytes());
            crc.update(tensor.values.bytes());
        }
        crc.sum()
    }
}

/// Whether the header of a safetensors file is a checkpoint's.
pub(super) fn is_checkpoint(bytes: &[u8]) -> bool {
    let metadata = SafeTensors::read_metadata(bytes).ok().and_then(|(_, header)| header.metadata().clone());
    metadata.is_some_and(|entries| entries.keys().any(|key| key.starts_with(FORMAT_PREFIX)))
}

/// For each parameter its topology, of those of the matrices in order.
pub(super) fn by_param<'a>(
    network: &Network,
    topologies: &'a [Option<Topology>],
) -> Vec<Option<&'a Topology>> {
    let mut topologies = topologies.iter();
    let topology = |param: &Param| if param.is_matrix() { topologies.next()?.as_ref() } else { None };
    network.store().iter().map(topology).collect()
}

/// Header of a file as text, part by part.
#[derive(serde::Deserialize)]
struct HeaderText<'a> {
    #[serde(borrow)]
    settings: &'a RawValue,
    #[serde(borrow)]
    position: &'a RawValue,
    #[serde(borrow)]
    memory: &'a RawValue,
    #[serde(borrow, default)]
    encoding: Option<&'a RawValue>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Header {
    settings: Settings,
    position: Position,
    memory: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Fingerprint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
    checksum: u32,
}
