//! Descriptions of parameters, before there is a device.

use std::fmt;

use super::{Extent, Precision, Value};
use crate::gpu::DType;
use crate::random::Key;
use crate::reference::bits;
use crate::sparse::Topology;
use crate::{Error, Result};

/// A parameter by its place in the graph and in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(super) usize);

impl ParamId {
    /// Parameter at this place of a program's own list, for [a layer context](crate::methods::LayerContext::new) without a network.
    pub fn new(index: usize) -> Self {
        Self(index)
    }

    /// The place among all parameters of the network, from 0.
    pub fn index(self) -> usize {
        self.0
    }
}

impl fmt::Debug for ParamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParamId({})", self.0)
    }
}

/// Fan-in that first weights are drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanIn {
    /// Mean number of inputs that a row of the sparse matrix has, so that signals keep their variance.
    Present,
    /// Number of inputs of the dense matrix: published with methods that tell blocks apart by their magnitude. Against large first
    /// weights no new block could hold its place.
    All,
}

/// A uniform draw of weights within `sqrt(3 * variance / fan_in)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    /// Variance of an output whose inputs are independent and have variance 1: 2 before a ReLU (He et al. 2015), which halves it,
    /// and 1 where nothing follows.
    pub variance: f64,
    /// Key of the draw.
    pub key: Key,
}

impl Draw {
    /// `count` weights for a fan-in of `inputs`.
    pub(super) fn values(self, inputs: f64, count: usize) -> Vec<f32> {
        let limit = (3.0 * self.variance / inputs).sqrt() as f32;
        let mut walk = self.key.walk();
        (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * limit).collect()
    }
}

/// First values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All elements have this value.
    Constant(f32),
    /// A uniform draw whose outputs have this variance, where inputs have variance 1.
    Uniform(f64),
    /// A uniform draw of this standard deviation, whatever the fan-in.
    Deviation(f64),
}

/// Block sparsity of one matrix.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Blocks {
    /// Side of a block.
    pub block: usize,
    /// Share of blocks that are present, in `(0, 1]`; `None` where the network shares out its blocks by [`Density`].
    ///
    /// [`Density`]: crate::sparse::Density
    pub density: Option<f64>,
}

/// Blocks of this side, at a density that is still to be set.
pub fn blocks(block: usize) -> Blocks {
    Blocks { block, density: None }
}

impl Blocks {
    /// Blocks of which the share `density`, in (0, 1], is present.
    #[must_use]
    pub fn density(self, density: f64) -> Self {
        Self { density: Some(density), ..self }
    }
}

/// Units (neurons) that the rows or the columns of a matrix stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Units of a value that the node reads.
    Of(Value),
    /// Units of the node's output.
    Output,
    /// Units within the node, by a number of the node's own.
    Hidden(usize),
    /// Units that are written and read in any case.
    Always,
}

/// Matrix of a product, `[out, in]`.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    /// Block sparsity; `None` for a matrix that is stored densely.
    pub(super) sparse: Option<Blocks>,
    /// Units that rows and columns stand for.
    pub(super) units: [Side; 2],
    /// Number of inputs of an output, where the matrix is stored transposed, a row per input.
    pub(super) by_input: Option<usize>,
    /// Type that products read: an f16 copy of the weights, or the weights.
    pub(super) operand: DType,
    /// Whether a bias has the same incoming gradient, so that its gradient shows what is not finite.
    pub(super) biased: bool,
    /// Activation behind the product, where one is fused.
    pub(super) activation: Option<crate::ops::Activation>,
}

/// A parameter to be.
#[derive(Debug, Clone)]
pub struct ParamSpec {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) init: Init,
    pub(super) decays: bool,
    pub(super) matrix: Option<Matrix>,
    /// Rows and columns that count, where others are padding.
    pub(super) extent: [Option<Extent>; 2],
    /// Whether padding columns are drawn like all others: those of inputs, whose features are 0 there.
    pub(super) draws_padding: bool,
}

impl ParamSpec {
    /// A vector or table: no matrix of a product, stored densely, without weight decay. `name` is relative to the
    /// [scope](super::Graph::scope).
    pub fn new(name: &str, shape: &[usize], init: Init) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            init,
            decays: false,
            matrix: None,
            extent: [None, None],
            draws_padding: false,
        }
    }

    /// A matrix `[out, in]` that products read, with weight decay, of the graph's precision.
    pub fn matrix(name: &str, sides: [usize; 2], variance: f64) -> Self {
        let matrix = Matrix {
            sparse: None,
            units: [Side::Always; 2],
            by_input: None,
            operand: DType::F32,
            biased: false,
            activation: None,
        };
        Self {
            name: name.to_owned(),
            shape: sides.to_vec(),
            init: Init::Uniform(variance),
            decays: true,
            matrix: Some(matrix),
            extent: [None, None],
            draws_padding: false,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Matrix)) -> Self {
        if let Some(matrix) = &mut self.matrix {
            change(matrix);
        }
        self
    }

    /// The matrix, block-sparse where `sparse` says so.
    #[must_use]
    pub fn sparse(self, sparse: Option<Blocks>) -> Self {
        self.with(|matrix| matrix.sparse = sparse)
    }

    /// The matrix, whose rows and columns stand for these units: random topologies are drawn so that no unit is written and not
    /// read.
    #[must_use]
    pub fn units(self, rows: Side, columns: Side) -> Self {
        self.with(|matrix| matrix.units = [rows, columns])
    }

    /// The matrix as one that is stored transposed, a row per input, where an output has `fan_in` inputs.
    #[must_use]
    pub fn stored_by_input(self, fan_in: usize) -> Self {
        self.with(|matrix| matrix.by_input = Some(fan_in))
    }

    /// The matrix, read by products in this precision.
    #[must_use]
    pub fn precision(self, precision: Precision) -> Self {
        self.with(|matrix| matrix.operand = precision.dtype())
    }

    /// The matrix of a product to which a bias is added.
    #[must_use]
    pub fn biased(self) -> Self {
        self.with(|matrix| matrix.biased = true)
    }

    /// The matrix of a product behind which this activation is fused.
    #[must_use]
    pub fn activation(self, activation: Option<crate::ops::Activation>) -> Self {
        self.with(|matrix| matrix.activation = activation)
    }

    /// The parameter, of which only these rows and columns count: others pad it to whole blocks and are 0.
    #[must_use]
    pub fn extent(self, rows: Option<Extent>, columns: Option<Extent>) -> Self {
        Self { extent: [rows, columns], ..self }
    }

    /// Whether padding columns are drawn like all others, where they have no effect: those of inputs, whose features are 0 there.
    #[must_use]
    pub fn draws_padding(self, draws_padding: bool) -> Self {
        Self { draws_padding, ..self }
    }

    /// Whether weight decay applies.
    #[must_use]
    pub fn decays(self, decays: bool) -> Self {
        Self { decays, ..self }
    }

    /// Extents outside of which elements are 0. Padding of inputs is drawn and has no effect.
    fn zeroed(&self) -> [Option<Extent>; 2] {
        let [rows, columns] = self.extent.clone();
        [rows, columns.filter(|_| !self.draws_padding)]
    }

    /// Bits of the rows and of the columns that count, each in whole words, where others pad a sparse matrix.
    pub(super) fn counted(&self) -> Option<Vec<u32>> {
        let zeroed = self.zeroed();
        if self.grid().is_none() || zeroed.iter().all(Option::is_none) {
            return None;
        }
        let bits = |(extent, &side): (&Option<Extent>, &usize)| match extent {
            Some(extent) => bits::set(side, extent.lines()),
            None => bits::set(side, 0..side),
        };
        Some(zeroed.iter().zip(&self.shape).flat_map(bits).collect())
    }

    /// Share of the columns that count: padding is no input of a unit.
    pub(super) fn share_of_inputs(&self) -> f64 {
        let [_, columns] = self.zeroed();
        columns.map_or(1.0, |columns| columns.count() as f64 / self.shape[1] as f64)
    }

    /// Elements if every block were present, without padding.
    pub(super) fn real_elements(&self) -> usize {
        let sides = self.shape.iter().zip(self.extent.iter().chain(std::iter::repeat(&None)));
        let sides = sides.map(|(&side, extent)| extent.as_ref().map_or(side, Extent::count));
        sides.fold(1usize, usize::saturating_mul)
    }

    /// Sets the padding of the parameter's elements to 0, those of a topology's blocks or all.
    pub(super) fn zero_padding(&self, topology: Option<&Topology>, values: &mut [f32]) {
        super::extent::zero_padding(&self.zeroed(), &self.shape, topology, values);
    }

    /// Block sparsity of the matrix, where it is sparse.
    pub(super) fn blocks(&self) -> Option<Blocks> {
        self.matrix.as_ref()?.sparse
    }

    /// Whether products read an f16 copy of the parameter.
    pub(super) fn has_half(&self) -> bool {
        self.matrix.as_ref().is_some_and(|matrix| matrix.operand == DType::F16)
    }

    /// Shape of the stored elements: the whole one, or `[nnz, block, block]` with a topology.
    pub(super) fn stored_shape(&self, topology: Option<&Topology>) -> Vec<usize> {
        topology.map_or_else(
            || self.shape.clone(),
            |topology| vec![topology.nnz(), topology.block(), topology.block()],
        )
    }

    /// Blocks of the grid, `[rows, cols]`, where the matrix is sparse.
    pub(super) fn grid(&self) -> Option<[usize; 2]> {
        let block = self.blocks()?.block;
        Some([self.shape[0] / block, self.shape[1] / block])
    }

    /// Refuses what makes no parameter.
    pub(super) fn validate(&self) -> Result<()> {
        let bad = |argument, wanted: String, found: String| {
            Err(Error::argument(&self.name, argument, wanted, found))
        };
        if self.shape.is_empty() || self.shape.contains(&0) {
            return bad("shape", "of sides from 1 up".to_owned(), format!("{:?}", self.shape));
        }
        let Some(Matrix { sparse: Some(Blocks { block, density }), .. }) = self.matrix else { return Ok(()) };
        if !crate::sparse::BLOCKS.contains(&block) {
            return bad("block", format!("one of {:?}", crate::sparse::BLOCKS), block.to_string());
        }
        if self.shape.iter().any(|side| !side.is_multiple_of(block)) {
            return bad("sides", format!("multiples of the block, {block}"), format!("{:?}", self.shape));
        }
        match density {
            Some(density) if !(density > 0.0 && density <= 1.0) => {
                bad("density", "in (0, 1]".to_owned(), density.to_string())
            }
            _ => Ok(()),
        }
    }
}
