//! A feed-forward network of two layers, the part of a language model that experts may take the place of.

use super::{After, Init, LayerShape, Linear, Passage};
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::{Activation, Epilogue};
use crate::sparse::Topology;

/// `down(activation(up(x)))`, with room for what passes through.
#[derive(Debug)]
pub struct FeedForward {
    activation: Activation,
    up: Linear,
    down: Linear,
    /// Before and after the activation, and the gradient before it: `[rows, hidden]`.
    pre: Tensor,
    hidden: Tensor,
    grad: Tensor,
}

impl FeedForward {
    /// What its layers will be.
    pub fn layers(name: &str, width: usize, hidden: usize, sparse: bool) -> [LayerShape; 2] {
        [("up", [hidden, width]), ("down", [width, hidden])].map(|(part, sides)| LayerShape {
            name: format!("{name}.{part}"),
            sides,
            sparse,
        })
    }

    /// The network with the two layers of [`FeedForward::layers`], and room for `rows` rows.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(
        gpu: &Gpu,
        shapes: &[LayerShape; 2],
        topologies: [Option<&Topology>; 2],
        activation: Activation,
        rows: usize,
        inits: [Init; 2],
    ) -> Result<Self> {
        let layer =
            |at: usize| Linear::new(gpu, &shapes[at].name, shapes[at].sides, topologies[at], inits[at]);
        let room = |label| gpu.alloc::<f32>(Class::Activations, label, &[rows, shapes[0].sides[0]]);
        Ok(Self {
            activation,
            up: layer(0)?,
            down: layer(1)?,
            pre: room("pre-activation")?,
            hidden: room("activation")?,
            grad: room("gradient")?,
        })
    }

    /// Its two layers.
    pub fn linears(&self) -> [&Linear; 2] {
        [&self.up, &self.down]
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> [&mut Linear; 2] {
        [&mut self.up, &mut self.down]
    }

    /// Records `out[rows, width]` of `x[rows, width]`.
    ///
    /// # Errors
    /// As the operations.
    pub fn forward(&self, rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor) -> Result<()> {
        let epilogue = Epilogue::Forward {
            bias: self.up.bias(),
            activation: self.activation,
            dropout: None,
            pre: &self.pre,
        };
        self.up.forward(rec, x, &self.hidden, epilogue)?;
        self.down.forward(rec, &self.hidden, out, Epilogue::Bias(self.down.bias()))
    }

    // CONTRACT: `dy` is the gradient of the loss by the output, whatever follows it.

    /// Records the gradients of the parameters, and `dx`, that of the input. `first` is the number of the upper layer in the
    /// network, and `y` the output.
    ///
    /// # Errors
    /// As the operations, and as `after`.
    pub fn backward(
        &self,
        rec: &mut Recorder<'_>,
        [x, y, dy, dx]: [&Tensor; 4],
        first: usize,
        after: &mut After<'_>,
    ) -> Result<()> {
        self.down.backward_parameters(rec, dy, &self.hidden)?;
        let epilogue = Epilogue::Backward { pre: &self.pre, activation: self.activation, dropout: None };
        self.down.backward_input(rec, dy, &self.grad, epilogue)?;
        after(rec, Passage { layer: first + 1, x: &self.hidden, y, dy })?;
        self.up.backward_parameters(rec, &self.grad, x)?;
        self.up.backward_input(rec, &self.grad, dx, Epilogue::None)?;
        after(rec, Passage { layer: first, x, y: &self.hidden, dy: &self.grad })
    }
}
