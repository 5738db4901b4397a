//! A linear layer, `y = x * W^T + b`, dense or block-sparse.

use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::{self, Epilogue, Transpose};
use crate::random::Key;
use crate::sparse::{BlockMatrix, Pattern, Topology};
use crate::{Error, Result};

/// A matrix `[out, in]`: the weights of a layer, or their gradient.
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
}

/// Values and their gradient, as an optimizer sees them.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// `layers.0.weight`, as PyTorch would call it.
    pub name: String,
    /// The values.
    pub values: &'a Tensor,
    /// Their gradient, of the same shape.
    pub grads: &'a Tensor,
    /// Whether weight decay applies: to weights, not to biases.
    pub decays: bool,
    /// The number of the layer among [`Network::layers`](super::Network::layers) whose weight this is, if it is one's.
    pub weight_of: Option<usize>,
}

/// What first weights are drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanIn {
    /// The mean number of inputs that an output really has, so that signals keep their variance.
    Present,
    /// All inputs there could be, as if the layer were dense: what methods are published with that tell blocks apart by
    /// their magnitude. Against large first weights no new block could hold its place.
    All,
}

/// How first weights are drawn: uniformly within `sqrt(3 * variance / fan_in)`.
#[derive(Debug, Clone, Copy)]
pub struct Init {
    /// What counts as an input.
    pub fan_in: FanIn,
    /// Of an output, where inputs are independent and have that of 1: 2 before a ReLU (He et al. 2015), which halves it, and 1
    /// where nothing follows.
    pub variance: f64,
    /// Where they come from.
    pub key: Key,
}

impl Init {
    /// `count` weights of `inputs` inputs.
    pub(super) fn draw(self, inputs: f64, count: usize) -> Vec<f32> {
        let limit = (3.0 * self.variance / inputs).sqrt() as f32;
        let mut walk = self.key.walk();
        (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * limit).collect()
    }
}

/// A linear layer and its gradients. The weight is `[out, in]`, as in PyTorch.
#[derive(Debug)]
pub struct Linear {
    name: String,
    inputs: usize,
    outputs: usize,
    weight: Weight,
    weight_grad: Weight,
    bias: Tensor,
    bias_grad: Tensor,
}

impl Linear {
    /// A layer with drawn weights. Biases are 0.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        name: &str,
        [outputs, inputs]: [usize; 2],
        topology: Option<&Topology>,
        init: Init,
    ) -> Result<Self> {
        let elements = topology.map_or(inputs * outputs, Topology::elements);
        let fan_in = match init.fan_in {
            FanIn::Present => elements as f64 / outputs as f64,
            FanIn::All => inputs as f64,
        };
        let values = init.draw(fan_in, elements);
        Self::with_values(gpu, name, [outputs, inputs], topology, &values, &vec![0.0; outputs])
    }

    /// A layer with given weights, in slot order where they are sparse.
    ///
    /// # Errors
    /// [`Error::Argument`] if the topology or the numbers of values do not fit, [`Error::OutOfMemory`].
    pub fn with_values(
        gpu: &Gpu,
        name: &str,
        [outputs, inputs]: [usize; 2],
        topology: Option<&Topology>,
        weight: &[f32],
        bias: &[f32],
    ) -> Result<Self> {
        let (weight, weight_grad) = match topology {
            None => {
                let shape = [outputs, inputs];
                let values = gpu.upload(Class::Values, name, &shape, weight)?;
                let grads = gpu.alloc::<f32>(Class::Gradients, name, &shape)?;
                (Weight::Dense(values), Weight::Dense(grads))
            }
            Some(topology) => {
                if [topology.rows(), topology.cols()] != [outputs, inputs] {
                    let found = format!("{} x {}", topology.rows(), topology.cols());
                    return Err(Error::argument(name, "topology", format!("{outputs} x {inputs}"), found));
                }
                let pattern = Pattern::upload(gpu, topology)?;
                let values = BlockMatrix::upload(gpu, Class::Values, name, &pattern, weight)?;
                let grads = BlockMatrix::alloc(gpu, Class::Gradients, name, &pattern)?;
                (Weight::Sparse(values), Weight::Sparse(grads))
            }
        };
        Ok(Self {
            name: name.to_owned(),
            inputs,
            outputs,
            weight,
            weight_grad,
            bias: gpu.upload(Class::Values, name, &[outputs], bias)?,
            bias_grad: gpu.alloc::<f32>(Class::Gradients, name, &[outputs])?,
        })
    }

    /// A layer of a weight that is on the device already. Biases are 0.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn from_weight(gpu: &Gpu, name: &str, [outputs, inputs]: [usize; 2], weight: Weight) -> Result<Self> {
        let weight_grad = match &weight {
            Weight::Dense(values) => {
                Weight::Dense(gpu.alloc::<f32>(Class::Gradients, name, values.shape())?)
            }
            Weight::Sparse(matrix) => {
                Weight::Sparse(BlockMatrix::alloc(gpu, Class::Gradients, name, matrix.pattern())?)
            }
        };
        Ok(Self {
            name: name.to_owned(),
            inputs,
            outputs,
            weight,
            weight_grad,
            bias: gpu.upload(Class::Values, name, &[outputs], &vec![0.0; outputs])?,
            bias_grad: gpu.alloc::<f32>(Class::Gradients, name, &[outputs])?,
        })
    }

    /// Records `out[rows, outputs] = epilogue(x[rows, inputs] * W^T)`; the epilogue adds [`Linear::bias`].
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
        match &self.weight {
            Weight::Dense(w) => ops::dense(rec, x, w, out, Transpose::NT, epilogue),
            Weight::Sparse(w) => ops::dds(rec, x, w, out, Transpose::NT, epilogue),
        }
    }

    // CONTRACT: `grad` is the gradient of the loss by this layer's output before its activation. Both functions below use
    // it; neither may assume that it is 1, or that the layer is the last.

    /// Records the gradients of weight and bias: `grad^T * x`, on the blocks there are, and the column sums of `grad`.
    ///
    /// # Errors
    /// As the operations.
    pub fn backward_parameters(&self, rec: &mut Recorder<'_>, grad: &Tensor, x: &Tensor) -> Result<()> {
        match &self.weight_grad {
            Weight::Dense(dw) => ops::dense(rec, grad, x, dw, Transpose::TN, Epilogue::None)?,
            Weight::Sparse(dw) => ops::sdd(rec, grad, x, dw, Transpose::TN, None)?,
        }
        ops::column_sums(rec, grad, &self.bias_grad, false)
    }

    /// Records the gradient of the input, `epilogue(grad * W)`; the epilogue takes it through the activation before this
    /// layer.
    ///
    /// # Errors
    /// As the operation.
    pub fn backward_input(
        &self,
        rec: &mut Recorder<'_>,
        grad: &Tensor,
        out: &Tensor,
        epilogue: Epilogue<'_>,
    ) -> Result<()> {
        match &self.weight {
            Weight::Dense(w) => ops::dense(rec, grad, w, out, Transpose::NN, epilogue),
            Weight::Sparse(w) => ops::dds(rec, grad, w, out, Transpose::NN, epilogue),
        }
    }

    /// Puts another block matrix in the place of a sparse weight, with a gradient of its pattern. Plans that were recorded
    /// before go on with the old one.
    ///
    /// # Errors
    /// [`Error::Argument`] if the sides differ, [`Error::OutOfMemory`].
    pub fn replace_weight(&mut self, gpu: &Gpu, weight: BlockMatrix) -> Result<()> {
        let sides = [weight.pattern().rows(), weight.pattern().cols()];
        if sides != self.sides() {
            let wanted = format!("{:?}", self.sides());
            return Err(Error::argument(&self.name, "weight", wanted, format!("{sides:?}")));
        }
        let grads = BlockMatrix::alloc(gpu, Class::Gradients, &self.name, weight.pattern())?;
        (self.weight, self.weight_grad) = (Weight::Sparse(weight), Weight::Sparse(grads));
        Ok(())
    }

    /// `layers.0`, say.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sides of the weight: `[outputs, inputs]`.
    pub fn sides(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    /// The weight.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// The gradient of the weight.
    pub fn weight_grad(&self) -> &Weight {
        &self.weight_grad
    }

    /// `[outputs]`.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// Weight and bias of the layer that has this number in its network.
    pub fn parameters(&self, number: usize) -> [Parameter<'_>; 2] {
        [
            Parameter {
                name: format!("{}.weight", self.name),
                values: self.weight.values(),
                grads: self.weight_grad.values(),
                decays: true,
                weight_of: Some(number),
            },
            Parameter {
                name: format!("{}.bias", self.name),
                values: &self.bias,
                grads: &self.bias_grad,
                decays: false,
                weight_of: None,
            },
        ]
    }
}
