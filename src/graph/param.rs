//! Parameters on the device: values, gradient, optimizer state, f16 copy.

use half::f16;

use super::arena::{Span, Tensors};
use super::spec::{Draw, FanIn, Init, ParamSpec};
use super::{ParamId, Precision};
use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::ops::{self, BlockRange, Epilogue, ParamRange, Rounding, Step, Transpose};
use crate::random::{Key, Stream};
use crate::sparse::{BlockMatrix, Pattern, Topology};
use crate::{Error, Result};

/// Elements of a parameter, or of its gradient.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Every element.
    Dense(Tensor),
    /// The present blocks of a matrix.
    Sparse(BlockMatrix),
}

impl Weight {
    /// The stored elements: the whole shape, or `[nnz, block, block]`.
    pub fn values(&self) -> &Tensor {
        match self {
            Self::Dense(values) => values,
            Self::Sparse(matrix) => matrix.values(),
        }
    }

    /// The block matrix, where this is one.
    pub fn sparse(&self) -> Option<&BlockMatrix> {
        match self {
            Self::Dense(_) => None,
            Self::Sparse(matrix) => Some(matrix),
        }
    }

    /// An f16 copy, unfilled.
    fn half(&self, gpu: &Gpu, name: &str) -> Result<Self> {
        Ok(match self {
            Self::Dense(values) => Self::Dense(gpu.alloc::<f16>(Class::Values, name, values.shape())?),
            Self::Sparse(matrix) => {
                Self::Sparse(BlockMatrix::alloc_of::<f16>(gpu, Class::Values, name, matrix.pattern())?)
            }
        })
    }

    /// A gradient of the weight's layout, unfilled.
    pub(super) fn grad(&self, gpu: &Gpu, name: &str) -> Result<Self> {
        Ok(match self {
            Self::Dense(values) => Self::Dense(gpu.alloc::<f32>(Class::Gradients, name, values.shape())?),
            Self::Sparse(matrix) => {
                Self::Sparse(BlockMatrix::alloc(gpu, Class::Gradients, name, matrix.pattern())?)
            }
        })
    }
}

/// A trained parameter.
#[derive(Debug)]
pub struct Param {
    name: String,
    id: ParamId,
    /// Ordinal of its random draws.
    stream: u32,
    shape: Vec<usize>,
    weight: Weight,
    grad: Weight,
    /// Parts of the optimizer's state, each in the layout of the weight.
    state: Vec<Tensor>,
    /// f16 copy that products read, and the key of its stochastic rounding.
    half: Option<(Weight, Option<Key>)>,
    decays: bool,
    is_matrix: bool,
    biased: bool,
    by_input: Option<usize>,
    /// Rows and columns that count, a bit each, where others pad a sparse matrix.
    counted: Option<Tensor>,
    /// Blocks of a sparse matrix, as those of a span of its own.
    blocks: Option<(ParamId, BlockRange)>,
    /// All elements, as those of a span of its own.
    range: (ParamId, ParamRange),
}

/// A parameter's place in the store, and the ordinal of its random draws.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) id: ParamId,
    pub(super) stream: u32,
    pub(super) seed: u64,
}

/// First values of a parameter: the whole shape, or the blocks of its topology in slot order.
pub(super) fn first_values(
    spec: &ParamSpec,
    identity: Identity,
    topology: Option<&Topology>,
    fan_in: FanIn,
) -> Vec<f32> {
    let elements = topology.map_or_else(|| spec.shape.iter().product(), Topology::elements);
    let key = Key::new(identity.seed, Stream::Weights(identity.stream));
    let mut values = match spec.init {
        Init::Constant(value) => vec![value; elements],
        Init::Deviation(deviation) => Draw { variance: deviation * deviation, key }.values(1.0, elements),
        Init::Uniform(variance) => {
            let rows = topology.map_or(spec.shape[0], Topology::written_rows).max(1);
            let inputs = match fan_in {
                FanIn::Present => elements as f64 / rows as f64,
                FanIn::All => spec.shape.get(1).copied().unwrap_or(1) as f64,
            };
            Draw { variance, key }.values(inputs * spec.share_of_inputs(), elements)
        }
    };
    spec.zero_padding(topology, &mut values);
    values
}

impl Param {
    /// A parameter with drawn values, of a pattern where it is sparse, and in the given tensors of an arena, if it lies in one.
    pub(super) fn draw(
        gpu: &Gpu,
        spec: &ParamSpec,
        identity: Identity,
        topology: Option<&Topology>,
        fan_in: FanIn,
        arena: Option<Tensors>,
    ) -> Result<Self> {
        let name = &spec.name;
        let shape = spec.stored_shape(topology);
        gpu.expect_buffer(name, &shape, DType::F32)?;
        let values = first_values(spec, identity, topology, fan_in);
        let pattern = topology.map(|topology| Pattern::upload(gpu, topology)).transpose()?;
        let of = |tensor| match &pattern {
            None => Ok(Weight::Dense(tensor)),
            Some(pattern) => BlockMatrix::adopt(pattern.clone(), tensor).map(Weight::Sparse),
        };
        let (tensors, half) = match (arena, &pattern) {
            (Some(Tensors { values, grads, half }), _) => ([values, grads], half),
            (None, Some(_)) => {
                let [values, grads] = [Class::Values, Class::Gradients];
                ([gpu.alloc::<f32>(values, name, &shape)?, gpu.alloc::<f32>(grads, name, &shape)?], None)
            }
            (None, None) => return Err(Error::argument(name, "values", "a place in an arena", "none")),
        };
        gpu.write(&tensors[0], &values)?;
        let [weight, grad] = tensors;
        Self::of(gpu, spec, identity, [of(weight)?, of(grad)?], half.map(of).transpose()?)
    }

    /// A parameter of tensors that exist already, this library's or a caller's: values, gradient, and the f16 copy, which is allocated
    /// if it is missing.
    pub(super) fn of(
        gpu: &Gpu,
        spec: &ParamSpec,
        identity: Identity,
        [weight, grad]: [Weight; 2],
        half: Option<Weight>,
    ) -> Result<Self> {
        let matrix = spec.matrix.as_ref();
        let half = match half {
            None if spec.has_half() => Some(weight.half(gpu, &spec.name)?),
            half => half,
        };
        Ok(Self {
            blocks: blocks_of(identity.id, &weight),
            range: (identity.id, range_of(&weight, spec.decays)),
            name: spec.name.clone(),
            id: identity.id,
            stream: identity.stream,
            shape: spec.shape.clone(),
            weight,
            grad,
            state: Vec::new(),
            half: half.map(|half| (half, None)),
            decays: spec.decays,
            is_matrix: matrix.is_some(),
            biased: matrix.is_some_and(|matrix| matrix.biased),
            by_input: matrix.and_then(|matrix| matrix.by_input),
            counted: spec
                .counted()
                .map(|bits| gpu.upload(Class::Topology, "padding", &[bits.len()], &bits))
                .transpose()?,
        })
    }

    /// Rounds the f16 copy as the precision says, with draws of this seed.
    pub(super) fn round(&mut self, precision: Precision, seed: u64) {
        let stochastic = precision.half().is_some_and(|half| half.stochastic);
        let key = Key::new(seed, Stream::Rounding(self.stream));
        if let Some((_, rounding)) = &mut self.half {
            *rounding = stochastic.then_some(key);
        }
    }

    /// Whether a step rounds the f16 copy by a random number.
    pub(super) fn rounds_by_chance(&self) -> bool {
        matches!(self.half, Some((_, Some(_))))
    }

    /// Records the f16 copy that products read of the weight as it is now; nothing where they read the weight itself. Rounding is
    /// stochastic in a `step` where that was asked for, and to the nearest without one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device without half precision.
    pub fn refresh(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        let Some((half, key)) = &self.half else { return Ok(()) };
        let rounding = match (*key, step) {
            (Some(key), Some(step)) => {
                Rounding::Stochastic { key, step, pattern: self.weight.sparse().map(BlockMatrix::pattern) }
            }
            _ => Rounding::Nearest,
        };
        ops::convert(rec, self.weight.values(), half.values(), rounding)
    }

    /// The weight that products read: the f16 copy, or the weight itself.
    pub fn operand(&self) -> &Weight {
        self.half.as_ref().map_or(&self.weight, |(half, _)| half)
    }

    /// Records `out[rows, out] = epilogue(x[rows, in] * W^T)`.
    ///
    /// # Errors
    /// As the operation.
    pub fn forward(
        &self,
        rec: &mut Recorder<'_>,
        x: &Tensor,
        out: &Tensor,
        epilogue: Epilogue<'_>,
    ) -> Result<()> {
        match self.operand() {
            Weight::Dense(w) => ops::dense(rec, x, w, out, Transpose::NT, epilogue),
            Weight::Sparse(w) => ops::dds(rec, x, w, out, Transpose::NT, epilogue),
        }
    }

    // CONTRACT: `dy` is the gradient of the loss by this matrix's output before its activation. Both functions below use it;
    // neither may assume that it is 1, or that the layer is the last.

    /// Records `dW = dy^T * x` on the present blocks, into `grad`, which is [`Param::weight_grad`] or has its layout.
    ///
    /// # Errors
    /// As the operation.
    pub fn backward_weight(
        &self,
        rec: &mut Recorder<'_>,
        dy: &Tensor,
        x: &Tensor,
        grad: &Weight,
    ) -> Result<()> {
        match grad {
            Weight::Dense(dw) => ops::dense(rec, dy, x, dw, Transpose::TN, Epilogue::None),
            Weight::Sparse(dw) => ops::sdd(rec, dy, x, dw, Transpose::TN, None),
        }
    }

    /// Records the gradient of the input, `out = epilogue(dy * W)`; the epilogue takes it through the activation before this layer.
    ///
    /// # Errors
    /// As the operation.
    pub fn backward_input(
        &self,
        rec: &mut Recorder<'_>,
        dy: &Tensor,
        out: &Tensor,
        epilogue: Epilogue<'_>,
    ) -> Result<()> {
        match self.operand() {
            Weight::Dense(w) => ops::dense(rec, dy, w, out, Transpose::NN, epilogue),
            Weight::Sparse(w) => ops::dds(rec, dy, w, out, Transpose::NN, epilogue),
        }
    }

    /// Replaces a sparse weight by another block matrix, with a gradient of its pattern and the given optimizer state. Plans that
    /// were recorded before keep the old tensors.
    ///
    /// # Errors
    /// [`Error::Argument`] if the sides differ, [`Error::OutOfMemory`].
    pub(crate) fn replace(&mut self, gpu: &Gpu, weight: BlockMatrix, state: Vec<Tensor>) -> Result<()> {
        let found = [weight.pattern().rows(), weight.pattern().cols()];
        if found != *self.shape {
            let wanted = format!("{:?}", self.shape);
            return Err(Error::argument(&self.name, "weight", wanted, format!("{found:?}")));
        }
        let weight = Weight::Sparse(weight);
        self.grad = weight.grad(gpu, &self.name)?;
        if let Some((half, _)) = &mut self.half {
            *half = weight.half(gpu, &self.name)?;
        }
        self.blocks = blocks_of(self.id, &weight);
        self.range.1 = range_of(&weight, self.decays);
        (self.weight, self.state) = (weight, state);
        Ok(())
    }

    /// Name in checkpoints, as PyTorch would have it: `layers.0.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the layer that the parameter belongs to: `layers.0` of `layers.0.weight`.
    pub fn layer(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(layer, _)| layer)
    }

    /// The parameter's id.
    pub fn id(&self) -> ParamId {
        self.id
    }

    /// Ordinal of the parameter's random draws: its place among the matrices, where it is one.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Shape with every element present: `[out, in]` of a matrix.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows and columns of a matrix; those of a vector are its length and 1.
    pub fn sides(&self) -> [usize; 2] {
        [self.shape.first().copied().unwrap_or(1), self.shape.get(1).copied().unwrap_or(1)]
    }

    /// The weight.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// The gradient of the weight.
    pub fn weight_grad(&self) -> &Weight {
        &self.grad
    }

    /// The stored elements.
    pub fn values(&self) -> &Tensor {
        self.weight.values()
    }

    /// The gradient of the stored elements.
    pub fn grads(&self) -> &Tensor {
        self.grad.values()
    }

    /// Parts of the optimizer's state, in the layout of [`Param::values`].
    pub fn state(&self) -> &[Tensor] {
        &self.state
    }

    /// The parameter as an optimizer updates it.
    pub fn span(&self) -> Span<'_> {
        let (values, grads) = (self.values(), self.grads());
        Span {
            name: &self.name,
            values,
            grads,
            state: &self.state,
            decaying: if self.decays { values.len() } else { 0 },
            blocks: self.blocks.as_slice(),
            params: std::slice::from_ref(&self.range),
            param: Some(self.id),
        }
    }

    /// Sets the optimizer's state.
    pub(crate) fn set_state(&mut self, state: Vec<Tensor>) {
        self.state = state;
    }

    /// Whether weight decay applies.
    pub fn decays(&self) -> bool {
        self.decays
    }

    /// Whether a product reads the parameter as a matrix.
    pub fn is_matrix(&self) -> bool {
        self.is_matrix
    }

    /// Whether a bias is added to the product of the matrix.
    pub(crate) fn is_biased(&self) -> bool {
        self.biased
    }

    /// Whether the weight is stored transposed, a row per input, as in the lower layer of experts.
    pub fn is_stored_by_input(&self) -> bool {
        self.by_input.is_some()
    }

    /// Rows and columns that count, a bit each, where others pad a sparse matrix; see
    /// [`zero_block_padding`](ops::zero_block_padding).
    pub fn counted(&self) -> Option<&Tensor> {
        self.counted.as_ref()
    }

    /// Number of inputs of an output, were every block present.
    pub fn fan_in(&self) -> usize {
        self.by_input.unwrap_or(self.sides()[1])
    }
}

/// All blocks of a sparse weight.
fn blocks_of(id: ParamId, weight: &Weight) -> Option<(ParamId, BlockRange)> {
    let pattern = weight.sparse()?.pattern();
    Some((id, BlockRange { first: 0, block: pattern.block(), nnz: pattern.nnz(), word: 0 }))
}

/// All stored elements of a weight.
fn range_of(weight: &Weight, decays: bool) -> ParamRange {
    ParamRange { first: 0, len: weight.values().len(), decays }
}
