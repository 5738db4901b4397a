//! Layers of the experts: one matrix holds those of all experts, one behind the other.

use half::f16;

use super::Moe;
use super::shared::SharedParams;
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::graph::{Backward, Forward, Param, Precision, Signals, Weight};
use crate::nn::operand::Operand;
use crate::ops::{self, Activation, ExpertsBackward, Rounding, Transpose};
use crate::sparse::{BlockMatrix, Routing};

/// Places of the mixture's parameters among the node's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) logits: Option<usize>,
    pub(super) noise: Option<usize>,
    pub(super) gate: Option<usize>,
    pub(super) up: usize,
    pub(super) down: usize,
    pub(super) shared: Option<SharedParams>,
}

/// Tensors of the experts. The hidden units that a token passes through are the pattern of the routing, and products with the
/// layers are those of block-sparse matrices.
#[derive(Debug)]
pub(super) struct Experts {
    activation: Activation,
    /// Places of the layers among the node's parameters: what is activated, what that is multiplied by where hidden units are
    /// gated, and the lower layer, `[hidden units, width]` like the others: stored transposed.
    first: usize,
    second: Option<usize>,
    down: usize,
    /// Input of the activation, its factor, the hidden units, and the gradient of the activation's input.
    pre: BlockMatrix,
    factor: Option<BlockMatrix>,
    hidden: BlockMatrix,
    grad: BlockMatrix,
    /// f16 copy of one of these matrices, where products read f16.
    half: Option<BlockMatrix>,
    /// Operands of the tokens and of the incoming gradient. Products with block-sparse weights are f32 in any case.
    input: Operand,
    incoming: Operand,
    /// Rows that the experts give, or their gradient, `[rows, width]`.
    rows: Tensor,
    /// Weight of each row, and its gradient.
    weights: Tensor,
    weights_grad: Tensor,
}

impl Experts {
    pub(super) fn new(
        gpu: &Gpu,
        moe: &Moe,
        routing: &Routing,
        given: Precision,
        places: Places,
    ) -> Result<Self> {
        let precision = if moe.sparse.is_some() { Precision::F32 } else { given };
        let (pattern, width) = (routing.pattern(), moe.width);
        let half = || BlockMatrix::alloc_of::<f16>(gpu, Class::Activations, "operand", pattern);
        let sizes = [routing.shape().tokens, width];
        let operand = || Operand::new(gpu, [given, precision], "operand", &sizes);
        let matrix = |label: &str| BlockMatrix::alloc(gpu, Class::Activations, label, pattern);
        let per_row = |label: &str| gpu.alloc::<f32>(Class::Activations, label, &[pattern.rows()]);
        Ok(Self {
            activation: moe.activation,
            first: places.gate.unwrap_or(places.up),
            second: places.gate.map(|_| places.up),
            down: places.down,
            pre: matrix("pre-activation")?,
            factor: places.gate.map(|_| matrix("factor")).transpose()?,
            hidden: matrix("hidden")?,
            grad: matrix("gradient")?,
            half: precision.half().map(|_| half()).transpose()?,
            input: operand()?,
            incoming: operand()?,
            rows: gpu.alloc::<f32>(Class::Activations, "rows", &[pattern.rows(), width])?,
            weights: per_row("weights")?,
            weights_grad: per_row("gradient")?,
        })
    }

    /// Records the f16 copy of one of the matrices, where products read one, and returns what they read.
    fn take<'a>(&'a self, rec: &mut Recorder<'_>, matrix: &'a BlockMatrix) -> Result<&'a BlockMatrix> {
        let Some(half) = &self.half else { return Ok(matrix) };
        ops::convert(rec, matrix.values(), half.values(), Rounding::Nearest)?;
        Ok(half)
    }

    /// Records the experts' outputs for the tokens in `x`, times the assignments' `weights`: into `out`, or added to it.
    pub(super) fn forward(
        &self,
        rec: &mut Recorder<'_>,
        pass: &Forward<'_>,
        [x, weights, out]: [&Tensor; 3],
        routing: &Routing,
        add: bool,
    ) -> Result<()> {
        let x = self.input.take(rec, x)?;
        hidden_of(rec, x, pass.param(self.first), routing, &self.pre)?;
        if let (Some(factor), Some(second)) = (&self.factor, self.second) {
            hidden_of(rec, x, pass.param(second), routing, factor)?;
        }
        ops::experts_activate(rec, &self.pre, self.factor.as_ref(), self.activation, &self.hidden)?;
        let hidden = self.take(rec, &self.hidden)?;
        rows_of(rec, hidden, pass.param(self.down), &self.rows)?;
        ops::combine(rec, &self.rows, routing, Some(weights), out, add)
    }

    // CONTRACT: `dy` is the gradient of the loss by the mixture's output, whatever follows it.

    /// Records the gradients of the layers, `weights_grad` of the assignments' weights, and `dx` of the input. The experts' outputs
    /// aren't needed: the gradient of a weight is that of the hidden units times themselves.
    pub(super) fn backward(
        &self,
        rec: &mut Recorder<'_>,
        pass: &mut Backward<'_>,
        [x, weights, dy]: [&Tensor; 3],
        [weights_grad, dx]: [&Tensor; 2],
        routing: &Routing,
    ) -> Result<()> {
        let tokens = routing.tokens();
        let (x, dy) = (self.input.of(x), self.incoming.take(rec, dy)?);
        ops::route_values(rec, weights, routing.rows(), &self.weights)?;
        hidden_of(rec, dy, pass.param(self.down), routing, &self.grad)?;
        let on = ExpertsBackward {
            grad: &self.grad,
            pre: &self.pre,
            up: self.factor.as_ref(),
            hidden: &self.hidden,
            weights: &self.weights,
            dots: &self.weights_grad,
        };
        ops::experts_backward(rec, on, self.activation)?;
        ops::route_values(rec, &self.weights_grad, routing.places(), weights_grad)?;

        let hidden = self.take(rec, &self.hidden)?;
        weight_grad(rec, hidden, dy, routing, pass.weight_grad(self.down))?;
        pass.done(rec, self.down, Some(Signals::Routed { hidden, x: dy, tokens }))?;
        let second = self.second.zip(self.factor.as_ref());
        for (at, (layer, grad)) in std::iter::once((self.first, &self.grad)).chain(second).enumerate() {
            let grad = self.take(rec, grad)?;
            weight_grad(rec, grad, x, routing, pass.weight_grad(layer))?;
            rows_of(rec, grad, pass.param(layer), &self.rows)?;
            ops::combine(rec, &self.rows, routing, None, dx, at > 0)?;
            pass.done(rec, layer, Some(Signals::Routed { hidden: grad, x, tokens }))?;
        }
        Ok(())
    }
}

/// Records the hidden units of each row's expert: `x[rows] * W^T` where the routing's pattern has a block.
fn hidden_of(
    rec: &mut Recorder<'_>,
    x: &Tensor,
    layer: &Param,
    routing: &Routing,
    out: &BlockMatrix,
) -> Result<()> {
    match layer.operand() {
        Weight::Dense(w) => ops::sdd_gathered(rec, x, routing.tokens(), w, out),
        Weight::Sparse(w) => ops::sds(rec, x, Some(routing.tokens()), w, out),
    }
}

/// Records `hidden * W`, a row each.
fn rows_of(rec: &mut Recorder<'_>, hidden: &BlockMatrix, layer: &Param, out: &Tensor) -> Result<()> {
    match layer.operand() {
        Weight::Dense(w) => ops::dsd(rec, hidden, w, out, Transpose::NN),
        Weight::Sparse(w) => ops::dss(rec, hidden, w, out),
    }
}

/// Records `hidden^T * x[rows]`, the gradient of the layer.
fn weight_grad(
    rec: &mut Recorder<'_>,
    hidden: &BlockMatrix,
    x: &Tensor,
    routing: &Routing,
    grad: &Weight,
) -> Result<()> {
    match grad {
        Weight::Dense(dw) => ops::dsd_gathered(rec, hidden, x, routing.tokens(), dw),
        Weight::Sparse(dw) => ops::ssd(rec, hidden, x, Some(routing.tokens()), dw),
    }
}
