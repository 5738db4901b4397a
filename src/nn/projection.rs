//! A matrix that is trained, dense or block-sparse.

use half::f16;

use super::{FanIn, Init, Parameter};
use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::ops::{self, Epilogue, Rounding, Step, Transpose};
use crate::random::Key;
use crate::sparse::{BlockMatrix, Pattern, Topology};
use crate::{Error, Result};

/// A matrix `[out, in]`: weights, or their gradient.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Every element.
    Dense(Tensor),
    /// The present blocks.
    Sparse(BlockMatrix),
}

impl Weight {
    /// The stored elements: `[out, in]`, or `[nnz, block, block]`.
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

    /// Room for the same elements in half precision.
    fn narrowed(&self, gpu: &Gpu, name: &str) -> Result<Self> {
        Ok(match self {
            Self::Dense(values) => Self::Dense(gpu.alloc::<f16>(Class::Values, name, values.shape())?),
            Self::Sparse(matrix) => {
                Self::Sparse(BlockMatrix::alloc_of::<f16>(gpu, Class::Values, name, matrix.pattern())?)
            }
        })
    }

    /// Room for the gradient.
    fn grad(&self, gpu: &Gpu, name: &str) -> Result<Self> {
        Ok(match self {
            Self::Dense(values) => Self::Dense(gpu.alloc::<f32>(Class::Gradients, name, values.shape())?),
            Self::Sparse(matrix) => {
                Self::Sparse(BlockMatrix::alloc(gpu, Class::Gradients, name, matrix.pattern())?)
            }
        })
    }
}

/// Weights `[out, in]`, as in PyTorch, and their gradient.
#[derive(Debug)]
pub struct Projection {
    name: String,
    number: usize,
    sides: [usize; 2],
    weight: Weight,
    grad: Weight,
    /// The weight in half precision, as products read it, and where its rounding draws, if it does so by chance.
    narrowed: Option<(Weight, Option<Key>)>,
    /// Inputs of an output there could be, where the weight is stored transposed, a row per input.
    by_input: Option<usize>,
}

impl Projection {
    /// Drawn weights. `number` is the place among [`Network::layers`](super::Network::layers).
    ///
    /// # Errors
    /// [`Error::Argument`] if the topology does not fit, [`Error::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        name: &str,
        number: usize,
        sides: [usize; 2],
        topology: Option<&Topology>,
        init: Init,
    ) -> Result<Self> {
        let [outputs, inputs] = sides;
        let shape = match topology {
            None => sides.to_vec(),
            Some(topology) => vec![topology.nnz(), topology.block(), topology.block()],
        };
        gpu.expect_buffer(name, &shape, DType::F32)?;
        let elements = topology.map_or(outputs * inputs, Topology::elements);
        let fan_in = match init.fan_in {
            FanIn::Present => {
                elements as f64 / topology.map_or(outputs, Topology::written_rows).max(1) as f64
            }
            FanIn::All => inputs as f64,
        };
        let values = init.draw(fan_in, elements);
        let weight = match topology {
            None => Weight::Dense(gpu.upload(Class::Values, name, &sides, &values)?),
            Some(topology) => {
                let found = [topology.rows(), topology.cols()];
                if found != sides {
                    return Err(Error::argument(
                        name,
                        "topology",
                        format!("{sides:?}"),
                        format!("{found:?}"),
                    ));
                }
                let pattern = Pattern::upload(gpu, topology)?;
                Weight::Sparse(BlockMatrix::upload(gpu, Class::Values, name, &pattern, &values)?)
            }
        };
        Self::of(gpu, name, number, sides, weight)
    }

    /// Weights that are on the device already.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn of(gpu: &Gpu, name: &str, number: usize, sides: [usize; 2], weight: Weight) -> Result<Self> {
        let grad = weight.grad(gpu, name)?;
        Ok(Self { name: name.to_owned(), number, sides, weight, grad, narrowed: None, by_input: None })
    }

    /// The matrix as one that is stored transposed, a row per input, where an output has up to `fan_in` inputs.
    #[must_use]
    pub(super) fn stored_by_input(self, fan_in: usize) -> Self {
        Self { by_input: Some(fan_in), ..self }
    }

    /// Whether the weight is stored transposed: a row is what leads on from an input, as in the lower layer of experts.
    pub fn is_stored_by_input(&self) -> bool {
        self.by_input.is_some()
    }

    /// Inputs of an output there could be.
    pub fn fan_in(&self) -> usize {
        self.by_input.unwrap_or(self.sides[1])
    }

    /// Keeps the weight in half precision too, which is what products read from now on. Rounded to the nearest, or by
    /// chance with draws from `key`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn narrow(&mut self, gpu: &Gpu, key: Option<Key>) -> Result<()> {
        self.narrowed = Some((self.weight.narrowed(gpu, &self.name)?, key));
        Ok(())
    }

    /// Records that products see the weight as it is now. Nothing, where they read the weight itself. Where it is rounded by
    /// chance, that is for a `step`; without one, as in tests, to the nearest.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device without half precision.
    pub fn refresh(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        let Some((narrowed, key)) = &self.narrowed else { return Ok(()) };
        let rounding = match (*key, step) {
            (Some(key), Some(step)) => {
                Rounding::Stochastic { key, step, pattern: self.weight.sparse().map(BlockMatrix::pattern) }
            }
            _ => Rounding::Nearest,
        };
        ops::convert(rec, self.weight.values(), narrowed.values(), rounding)
    }

    /// What products read.
    pub(super) fn operand(&self) -> &Weight {
        self.narrowed.as_ref().map_or(&self.weight, |(narrowed, _)| narrowed)
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

    /// Records the gradient of the weights, `dy^T * x`, on the blocks there are.
    ///
    /// # Errors
    /// As the operation.
    pub fn backward_weight(&self, rec: &mut Recorder<'_>, dy: &Tensor, x: &Tensor) -> Result<()> {
        match &self.grad {
            Weight::Dense(dw) => ops::dense(rec, dy, x, dw, Transpose::TN, Epilogue::None),
            Weight::Sparse(dw) => ops::sdd(rec, dy, x, dw, Transpose::TN, None),
        }
    }

    /// Records the gradient of the input, `epilogue(dy * W)`; the epilogue takes it through the activation before this layer.
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

    /// Puts another block matrix in the place of a sparse weight, with a gradient of its pattern. Plans that were recorded
    /// before go on with the old one.
    ///
    /// # Errors
    /// [`Error::Argument`] if the sides differ, [`Error::OutOfMemory`].
    pub fn replace_weight(&mut self, gpu: &Gpu, weight: BlockMatrix) -> Result<()> {
        let found = [weight.pattern().rows(), weight.pattern().cols()];
        if found != self.sides {
            let wanted = format!("{:?}", self.sides);
            return Err(Error::argument(&self.name, "weight", wanted, format!("{found:?}")));
        }
        let weight = Weight::Sparse(weight);
        self.grad = weight.grad(gpu, &self.name)?;
        if let Some((narrowed, _)) = &mut self.narrowed {
            *narrowed = weight.narrowed(gpu, &self.name)?;
        }
        self.weight = weight;
        Ok(())
    }

    /// `layers.0`, say.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The place among [`Network::layers`](super::Network::layers).
    pub fn number(&self) -> usize {
        self.number
    }

    /// Sides of the weight: `[out, in]`.
    pub fn sides(&self) -> [usize; 2] {
        self.sides
    }

    /// The weight.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// The gradient of the weight.
    pub fn weight_grad(&self) -> &Weight {
        &self.grad
    }

    /// What is trained.
    pub fn parameter(&self) -> Parameter<'_> {
        Parameter {
            name: format!("{}.weight", self.name),
            values: self.weight.values(),
            grads: self.grad.values(),
            decays: true,
            weight_of: Some(self.number),
        }
    }
}
