//! Linear layer, `y = dropout(activation(x * W^T + b))`.

use serde_json::json;

use super::Module;
use super::module::single;
use crate::gpu::Recorder;
use crate::graph::{
    Backward, Blocks, Buffer, Extent, Forward, Fused, Graph, Init, Input, Node, Output, PRE, ParamSpec, Side,
    Signals, Value, Wiring,
};
use crate::ops::{self, Activation, Dropout};
use crate::random::{Key, Stream};
use crate::{Error, Result};

/// A linear layer of `inputs` to `outputs` features, dense or block-sparse, with a bias and, fused into the product, activation and
/// dropout. Its weight is `[outputs, inputs]`.
#[derive(Debug, Clone)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    sparse: Option<Blocks>,
    activation: Option<Activation>,
    dropout: f32,
    variance: Option<f64>,
    /// Outputs and inputs that count, where others are padding.
    extent: [Option<Extent>; 2],
    draws_padding: bool,
    untied: bool,
}

impl Linear {
    /// A dense layer.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            sparse: None,
            activation: None,
            dropout: 0.0,
            variance: None,
            extent: [None, None],
            draws_padding: false,
            untied: false,
        }
    }

    /// The layer with a block-sparse weight; dense for `None`.
    #[must_use]
    pub fn sparse(self, blocks: impl Into<Option<Blocks>>) -> Self {
        Self { sparse: blocks.into(), ..self }
    }

    /// The layer with an activation.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    /// The layer with a ReLU.
    #[must_use]
    pub fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// The layer with a GELU in its tanh form.
    #[must_use]
    pub fn gelu(self) -> Self {
        self.activation(Activation::Gelu)
    }

    /// The layer that drops this share of its outputs in training, in `[0, 1)`. Dropout is fused behind an activation.
    #[must_use]
    pub fn dropout(self, rate: f32) -> Self {
        Self { dropout: rate, ..self }
    }

    /// The layer of which only the first `outputs` outputs count. The others pad it to whole blocks: their weights and biases are 0.
    #[must_use]
    pub fn real_outputs(mut self, outputs: usize) -> Self {
        self.extent[0] = Extent::first(outputs, self.outputs);
        self
    }

    /// The layer of which only the first `inputs` inputs count, those of a layer with so many [outputs](Linear::real_outputs).
    #[must_use]
    pub fn real_inputs(mut self, inputs: usize) -> Self {
        self.extent[1] = Extent::first(inputs, self.inputs);
        self
    }

    /// The layer of which only these outputs and inputs count, where there are some that do not; the inputs as they were, where `None`
    /// is given.
    #[must_use]
    pub(super) fn extents(mut self, outputs: Option<Extent>, inputs: Option<Extent>) -> Self {
        self.extent = [outputs, inputs.or(self.extent[1].take())];
        self
    }

    /// The layer that reads rows of so many features, padded with zeros. Weights of padding are drawn like all others, and have no
    /// effect.
    #[must_use]
    pub(super) fn features(self, features: usize) -> Self {
        Self { draws_padding: true, ..self.real_inputs(features) }
    }

    /// The layer whose inputs are read by others, too: patterns of the layers before are drawn as if this one was not there.
    #[must_use]
    pub(super) fn untied(self) -> Self {
        Self { untied: true, ..self }
    }

    /// The layer whose first weights give outputs of this variance, where inputs have variance 1: 2 by default before an
    /// activation, and 1 without.
    #[must_use]
    pub fn variance(self, variance: f64) -> Self {
        Self { variance: Some(variance), ..self }
    }
}

impl Module for Linear {
    fn input_width(&self) -> Option<usize> {
        Some(self.inputs)
    }

    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let x = single(graph, inputs)?;
        let op = graph.name("linear");
        let [rows, found] = graph.matrix(&op, x)?;
        if found != self.inputs {
            return Err(Error::argument(
                op,
                "input",
                format!("of width {}", self.inputs),
                format!("of width {found}"),
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::argument(op, "dropout", "in [0, 1)", self.dropout));
        }
        let activation = match (self.activation, self.dropout > 0.0) {
            (None, true) => Some(Activation::Identity),
            (activation, _) => activation,
        };
        let key = Key::new(graph.seed(), Stream::Dropout(graph.matrix_count()));
        let dropout = (self.dropout > 0.0).then_some(Dropout { rate: self.dropout, key });
        let fused = activation.map(|activation| Fused { activation, dropout });
        let operand = graph.operand();
        let variance = self.variance.unwrap_or(if self.activation.is_some() { 2.0 } else { 1.0 });
        let weight = ParamSpec::matrix("weight", [self.outputs, self.inputs], variance)
            .sparse(self.sparse)
            .units(Side::Output, if self.untied { Side::Always } else { Side::Of(x) })
            .precision(graph.precision())
            .biased()
            .activation(activation)
            .extent(self.extent[0].clone(), self.extent[1].clone())
            .draws_padding(self.draws_padding);
        let bias =
            ParamSpec::new("bias", &[self.outputs], Init::Constant(0.0)).extent(self.extent[0].clone(), None);
        let params = vec![graph.param(weight)?, graph.param(bias)?];
        let shape = [rows, self.outputs];
        // Activations are what the next product reads; sums without one may join a residual stream or a loss, in f32.
        let stored = if fused.is_some() { operand } else { crate::gpu::DType::F32 };
        let output = Output::new(graph.name("output"), &shape)
            .of(stored)
            .grad_of(operand)
            .shown(self.sparse.is_some())
            .fused(fused);
        let pre = fused.filter(Fused::needs_pre).map(|_| Buffer::kept(PRE, &shape, operand));
        let wiring = Wiring {
            inputs: vec![Input::new(x).of(operand).kept().fuses_activation()],
            outputs: vec![output],
            params,
            buffers: pre.into_iter().collect(),
        };
        Ok(vec![graph.add_one(LinearNode { fused }, wiring)?])
    }
}

/// Product, bias, activation and dropout in one.
#[derive(Debug)]
struct LinearNode {
    fused: Option<Fused>,
}

impl Node for LinearNode {
    fn kind(&self) -> &'static str {
        "linear"
    }

    fn options(&self) -> serde_json::Value {
        let rate = self.fused.and_then(|fused| fused.dropout).map_or(0.0, |dropout| dropout.rate);
        json!({ "activation": self.fused.map(|fused| fused.activation), "dropout": rate })
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        let epilogue = pass.epilogue(pass.param(1).values(), self.fused.as_ref());
        pass.param(0).forward(rec, pass.input(0), pass.output(0), epilogue)
    }

    // CONTRACT: `dy` is the gradient of the loss by the sums and biases, before the activation.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        let (x, y, dy, weight) = (pass.input(0), pass.output(0), pass.output_grad(0), pass.param(0));
        let wants_weight_grads = pass.wants_weight_grads();
        if wants_weight_grads {
            weight.backward_weight(rec, dy, x, pass.weight_grad(0))?;
            ops::column_sums_later(rec, dy, pass.weight_grad(1).values(), false)?;
        }
        if let Some(dx) = pass.input_grad(0) {
            weight.backward_input(rec, dy, dx.tensor, dx.epilogue)?;
        }
        if !wants_weight_grads {
            return Ok(());
        }
        pass.done(rec, 0, Some(Signals::Rows { x, y, dy }))?;
        pass.done(rec, 1, None)
    }

    fn splits_backward(&self) -> bool {
        true
    }

    fn linearised(&self) -> Option<Box<dyn Node>> {
        Some(Box::new(Self { fused: None }))
    }
}
