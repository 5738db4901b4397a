//! Bytes that a network takes on a device, summed before anything is allocated.

use super::build::Graph;
use super::layout::{Passes, Storage};
use super::planner::Planner;
use super::spec::ParamSpec;
use crate::Result;
use crate::gpu::{Class, DType, size_class};
use crate::sparse::Topology;

/// Classes in the order of [`Sum`].
const CLASSES: [Class; 6] =
    [Class::Values, Class::Topology, Class::Gradients, Class::Optimizer, Class::Activations, Class::Scratch];

/// Bytes by class, and the largest buffer; no size overflows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    classes: [u128; CLASSES.len()],
    largest: (u128, &'static str),
}

impl Sum {
    /// Adds a buffer of so many elements of `size` bytes, as large as the allocator makes it.
    pub(crate) fn add(&mut self, class: Class, label: &'static str, elements: u128, size: u64) {
        let bytes = elements.saturating_mul(size.into());
        // Near the end of 64 bits nothing is rounded, for nothing has room for it either.
        let bytes = match u64::try_from(bytes) {
            Ok(bytes) if bytes < 1 << 62 => size_class(class, bytes).into(),
            _ => bytes,
        };
        if let Some(at) = CLASSES.iter().position(|&known| known == class) {
            self.classes[at] = self.classes[at].saturating_add(bytes);
        }
        if bytes > self.largest.0 {
            self.largest = (bytes, label);
        }
    }

    /// Adds another sum.
    pub(crate) fn add_all(&mut self, other: Self) {
        for (class, more) in self.classes.iter_mut().zip(other.classes) {
            *class = class.saturating_add(more);
        }
        self.largest = self.largest.max(other.largest);
    }

    pub(crate) fn of(&self, class: Class) -> u128 {
        CLASSES.iter().zip(self.classes).filter(|&(&known, _)| known == class).map(|(_, bytes)| bytes).sum()
    }

    pub(crate) fn total(&self) -> u128 {
        self.classes.iter().fold(0, |sum, &bytes| sum.saturating_add(bytes))
    }

    /// Bytes and label of the largest buffer.
    pub(crate) fn largest(&self) -> (u128, &'static str) {
        self.largest
    }
}

/// Sizes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamSize {
    /// Stored elements.
    pub elements: u128,
    /// Blocks of a sparse matrix.
    pub blocks: Option<BlockSize>,
}

/// Sizes of a sparse matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSize {
    /// Places in the grid.
    pub places: u128,
    /// Stored blocks.
    pub nnz: usize,
    /// Elements of a block.
    pub area: u128,
    /// Words of its topology.
    pub words: u128,
    /// Words of a topology with all blocks.
    pub most_words: u128,
}

/// Memory of activations and their gradients over a step, as it is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMemory {
    /// Bytes in use at each operation, of the forward pass and then of the backward pass; where the network has several
    /// [parts](Graph::head), part by part.
    pub in_use: Vec<u64>,
    /// Operations of the forward pass and of the backward pass of each part.
    pub parts: Vec<[usize; 2]>,
    /// Bytes that are allocated for all of it.
    pub allocated: u64,
}

impl Graph {
    /// Plan of the memory of a step: inputs, outputs and their gradients throughout, and everything else from the operation that
    /// writes it to the last one that reads it.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a graph that makes no network.
    pub fn step_memory(&self) -> Result<StepMemory> {
        let layout = Planner::plan(self)?;
        let operations: usize = layout.parts.iter().map(Passes::len).sum();
        let pinned = layout.storages.iter().filter(|storage| storage.pinned);
        let pinned: u64 = pinned.map(Storage::bytes).sum();
        let mut in_use = vec![pinned; operations];
        for storage in layout.storages.iter().filter(|storage| !storage.pinned) {
            let Some((first, last)) = storage.live else { continue };
            in_use[first..operations.min(last + 1)].iter_mut().for_each(|bytes| *bytes += storage.bytes());
        }
        let allocated = pinned + layout.shared.iter().sum::<u64>();
        let parts = layout.parts.iter().map(|part| [part.forward.len(), part.backward.len()]).collect();
        Ok(StepMemory { in_use, parts, allocated })
    }

    /// Bytes of the network with gradients and memory for its batch, with topologies of this sparsity.
    ///
    /// # Errors
    /// As [`Graph::counts`], and [`Error::Argument`](crate::Error::Argument) for a graph that makes no network.
    pub(crate) fn bytes(&self, stored: Option<f64>) -> Result<Sum> {
        let mut sum = self.bytes_of_copy(stored)?;
        for (param, elements) in self.params.iter().zip(self.elements(stored)?) {
            let label = if param.matrix.is_some() { "a weight" } else { "a bias, a gain or a table" };
            sum.add(Class::Gradients, label, elements, 4);
        }
        for blocks in self.sizes(stored)?.into_iter().filter_map(|size| size.blocks) {
            sum.add(Class::Topology, "a topology", blocks.words, 4);
        }
        Ok(sum)
    }

    /// Bytes of a network of the same topologies, with weights of its own and memory for its batch, and without gradients.
    ///
    /// # Errors
    /// As [`Graph::bytes`].
    pub(crate) fn bytes_of_copy(&self, stored: Option<f64>) -> Result<Sum> {
        let mut sum = Sum::default();
        for (param, elements) in self.params.iter().zip(self.elements(stored)?) {
            let label = if param.matrix.is_some() { "a weight" } else { "a bias, a gain or a table" };
            sum.add(Class::Values, label, elements, 4);
            if let Some(bits) = param.counted() {
                sum.add(Class::Topology, "padding", bits.len() as u128, 4);
            }
            if param.matrix.as_ref().is_some_and(|matrix| matrix.operand == DType::F16) {
                sum.add(Class::Values, "an f16 copy of a weight", elements, 2);
            }
        }
        let layout = Planner::plan(self)?;
        for storage in layout.storages.iter().filter(|storage| storage.pinned) {
            sum.add(
                Class::Activations,
                "an input, an output or its gradient",
                u128::from(storage.bytes()),
                1,
            );
        }
        layout.shared.iter().for_each(|&bytes| sum.add(Class::Activations, "activations", bytes.into(), 1));
        for node in &self.nodes {
            for (class, label, elements, size) in node.node.bound()? {
                sum.add(class, label, elements, size);
            }
        }
        Ok(sum)
    }

    /// Sizes of each parameter, with topologies of this sparsity.
    pub(crate) fn sizes(&self, stored: Option<f64>) -> Result<Vec<ParamSize>> {
        let mut counts = self.counts(stored)?.into_iter();
        let size = |param: &ParamSpec| {
            let nnz = if param.matrix.is_some() { counts.next().unwrap_or(0) } else { 0 };
            let Some(blocks) = param.blocks() else {
                let elements = param.shape.iter().map(|&side| side as u128).product();
                return ParamSize { elements, blocks: None };
            };
            let area = (blocks.block as u128).pow(2);
            let grid = param.grid().unwrap_or_default();
            let places = grid.iter().map(|&side| side as u128).product();
            let words = |nnz| Topology::packed_words(grid, nnz) as u128;
            let [words, most_words] = [words(nnz), words(grid[0].saturating_mul(grid[1]))];
            let blocks = BlockSize { places, nnz, area, words, most_words };
            ParamSize { elements: nnz as u128 * area, blocks: Some(blocks) }
        };
        Ok(self.params.iter().map(size).collect())
    }

    fn elements(&self, stored: Option<f64>) -> Result<Vec<u128>> {
        Ok(self.sizes(stored)?.into_iter().map(|size| size.elements).collect())
    }
}
