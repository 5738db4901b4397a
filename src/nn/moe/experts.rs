//! The experts' own layers: one matrix has those of all experts, one behind the other.

use half::f16;

use crate::Result;
use crate::gpu::{Class, Recorder, Tensor};
use crate::nn::builder::Builder;
use crate::nn::{After, Operand, Passage, Precision, Projection, Signals, Weight};
use crate::ops::{self, Activation, ExpertsBackward, Rounding, Transpose};
use crate::sparse::{BlockMatrix, Routing};

/// The experts, with room for what passes through. Which hidden units a token passes is the pattern of the routing, and
/// the products with the layers are those of block-sparse matrices.
#[derive(Debug)]
pub(super) struct Experts {
    activation: Activation,
    /// What the activation is of, where hidden units are gated; `[hidden units, width]` like all three.
    gate: Option<Projection>,
    up: Projection,
    /// The lower layer, transposed: a row is what a hidden unit gives.
    down: Projection,
    /// What the activation is of, what that is multiplied by, what comes out, and the gradient of that.
    pre: BlockMatrix,
    factor: Option<BlockMatrix>,
    hidden: BlockMatrix,
    grad: BlockMatrix,
    /// Where products read f16, what they read in the place of one of these matrices.
    narrow: Option<BlockMatrix>,
    /// What they read of tokens and of the gradient that comes in. Where weights are block-sparse, products are f32 in any
    /// case.
    input: Operand,
    incoming: Operand,
    /// What the experts make of their tokens, or its gradient, `[rows, width]`.
    rows: Tensor,
    /// The weight of each row, and its gradient.
    weights: Tensor,
    weights_grad: Tensor,
}

impl Experts {
    pub(super) fn new(
        builder: &mut Builder<'_>,
        routing: &Routing,
        gated: bool,
        activation: Activation,
        variance: f64,
    ) -> Result<Self> {
        let given = builder.precision();
        let precision = if builder.next_is_sparse() { Precision::F32 } else { given };
        let gate = gated.then(|| builder.projection_in(precision, 2.0)).transpose()?;
        let up = builder.projection_in(precision, if gated { 1.0 } else { 2.0 })?;
        // The inputs of the lower layer are hidden units of one expert, not the rows of this matrix.
        let mean = routing.shape().hidden() as f64 / routing.shape().experts() as f64;
        let width = up.sides()[1];
        let down = builder.projection_in(precision, variance * width as f64 / mean)?;
        let down = down.stored_by_input(mean.round() as usize);
        let (gpu, pattern) = (builder.gpu(), routing.pattern());
        let narrow = || BlockMatrix::alloc_of::<f16>(gpu, Class::Activations, "operand", pattern);
        let sizes = [routing.shape().tokens, width];
        let operand = || Operand::new(gpu, [given, precision], "operand", &sizes);
        let room = |label: &str| BlockMatrix::alloc(gpu, Class::Activations, label, pattern);
        let per_row = |label: &str| gpu.alloc::<f32>(Class::Activations, label, &[pattern.rows()]);
        Ok(Self {
            activation,
            pre: room("pre-activation")?,
            factor: gated.then(|| room("factor")).transpose()?,
            hidden: room("hidden")?,
            grad: room("gradient")?,
            narrow: precision.half().map(|_| narrow()).transpose()?,
            input: operand()?,
            incoming: operand()?,
            rows: gpu.alloc::<f32>(Class::Activations, "rows", &[pattern.rows(), width])?,
            weights: per_row("weights")?,
            weights_grad: per_row("gradient")?,
            gate,
            up,
            down,
        })
    }

    pub(super) fn projections(&self) -> impl Iterator<Item = &Projection> {
        self.gate.iter().chain([&self.up, &self.down])
    }

    pub(super) fn projections_mut(&mut self) -> impl Iterator<Item = &mut Projection> {
        self.gate.iter_mut().chain([&mut self.up, &mut self.down])
    }

    /// Records the copy of one of the matrices that products read, where they do, and says what they read.
    fn take<'a>(&'a self, rec: &mut Recorder<'_>, matrix: &'a BlockMatrix) -> Result<&'a BlockMatrix> {
        let Some(narrow) = &self.narrow else { return Ok(matrix) };
        ops::convert(rec, matrix.values(), narrow.values(), Rounding::Nearest)?;
        Ok(narrow)
    }

    /// Records what experts make of their tokens in `x`, added to `out` with the weights of the choices.
    pub(super) fn forward(
        &self,
        rec: &mut Recorder<'_>,
        [x, weights, out]: [&Tensor; 3],
        routing: &Routing,
        add: bool,
    ) -> Result<()> {
        let first = self.gate.as_ref().unwrap_or(&self.up);
        let x = self.input.take(rec, x)?;
        hidden_of(rec, x, first, routing, &self.pre)?;
        if let Some(factor) = &self.factor {
            hidden_of(rec, x, &self.up, routing, factor)?;
        }
        ops::experts_activate(rec, &self.pre, self.factor.as_ref(), self.activation, &self.hidden)?;
        let hidden = self.take(rec, &self.hidden)?;
        rows_of(rec, hidden, &self.down, &self.rows)?;
        ops::combine(rec, &self.rows, routing, Some(weights), out, add)
    }

    // CONTRACT: `dy` is the gradient of the loss by the output, whatever follows it.

    /// Records the gradients of the layers, that of the choices' `weights`, and that of the input, added to `dx`. What the
    /// experts gave is not needed: a weight's gradient is that of the hidden units times themselves. `after` records something
    /// after each layer, when nobody needs its weight any more.
    pub(super) fn backward(
        &self,
        rec: &mut Recorder<'_>,
        [x, weights, dy]: [&Tensor; 3],
        [weights_grad, dx]: [&Tensor; 2],
        routing: &Routing,
        add: bool,
        after: &mut After<'_>,
    ) -> Result<()> {
        let tokens = routing.tokens();
        let (x, dy) = (self.input.of(x), self.incoming.take(rec, dy)?);
        ops::route_values(rec, weights, routing.rows(), &self.weights)?;
        hidden_of(rec, dy, &self.down, routing, &self.grad)?;
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
        weight_grad(rec, hidden, dy, routing, &self.down)?;
        let signals = Signals::Routed { hidden, x: dy, tokens };
        after(rec, Passage { layer: self.down.number(), signals })?;
        let first = self.gate.as_ref().unwrap_or(&self.up);
        let second = self.factor.as_ref().map(|factor| (factor, &self.up));
        for (at, (grad, layer)) in std::iter::once((&self.grad, first)).chain(second).enumerate() {
            let grad = self.take(rec, grad)?;
            weight_grad(rec, grad, x, routing, layer)?;
            rows_of(rec, grad, layer, &self.rows)?;
            ops::combine(rec, &self.rows, routing, None, dx, add || at > 0)?;
            let signals = Signals::Routed { hidden: grad, x, tokens };
            after(rec, Passage { layer: layer.number(), signals })?;
        }
        Ok(())
    }
}

/// Records the hidden units of each row's expert: `x[rows] * W^T` where the routing's pattern has a block.
fn hidden_of(
    rec: &mut Recorder<'_>,
    x: &Tensor,
    layer: &Projection,
    routing: &Routing,
    out: &BlockMatrix,
) -> Result<()> {
    match layer.operand() {
        Weight::Dense(w) => ops::sdd_gathered(rec, x, routing.tokens(), w, out),
        Weight::Sparse(w) => ops::sds(rec, x, Some(routing.tokens()), w, out),
    }
}

/// Records `hidden * W`, a row each.
fn rows_of(rec: &mut Recorder<'_>, hidden: &BlockMatrix, layer: &Projection, out: &Tensor) -> Result<()> {
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
    layer: &Projection,
) -> Result<()> {
    match layer.weight_grad() {
        Weight::Dense(dw) => ops::dsd_gathered(rec, hidden, x, routing.tokens(), dw),
        Weight::Sparse(dw) => ops::ssd(rec, hidden, x, Some(routing.tokens()), dw),
    }
}
