//! A feed-forward network of two layers, the part of a language model that experts may take the place of.

use super::builder::Builder;
use super::{Activated, After, LayerShape, Linear, Passage, Signals};
use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::ops::{Activation, Epilogue};

/// `down(activation(up(x)))`, with room for what passes through.
#[derive(Debug)]
pub struct FeedForward {
    activation: Activation,
    up: Linear,
    down: Linear,
    /// Before and after the activation, and the gradient before it: `[rows, hidden]`, in the network's precision.
    pre: Option<Tensor>,
    hidden: Tensor,
    grad: Tensor,
}

impl FeedForward {
    /// Shapes of its two layers; `units` is the number of its hidden units.
    pub(super) fn layers(
        name: &str,
        width: usize,
        hidden: usize,
        sparse: bool,
        units: usize,
    ) -> [LayerShape; 2] {
        let up = ("up", [hidden, width], [Some(units), None]);
        let down = ("down", [width, hidden], [None, Some(units)]);
        [up, down].map(|(part, sides, units)| LayerShape {
            name: format!("{name}.{part}"),
            sides,
            sparse,
            bias: true,
            units,
        })
    }

    /// The network of the next two layers, and room for `rows` rows. What it gives has this variance.
    pub(super) fn new(
        builder: &mut Builder<'_>,
        activation: Activation,
        rows: usize,
        variance: f64,
    ) -> Result<Self> {
        let (up, down) = (builder.linear(2.0)?, builder.linear(variance)?);
        let hidden = up.projection().sides()[0];
        let room = |label| builder.precision().alloc(builder.gpu(), label, &[rows, hidden]);
        Ok(Self {
            activation,
            pre: (!activation.shows_in_output()).then(|| room("pre-activation")).transpose()?,
            hidden: room("activation")?,
            grad: room("gradient")?,
            up,
            down,
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

    /// Records `out[rows, width]`, in f32, of `x[rows, width]`, in the network's precision.
    ///
    /// # Errors
    /// As the operations.
    pub fn forward(&self, rec: &mut Recorder<'_>, x: &Tensor, out: &Tensor) -> Result<()> {
        let then = Activated { activation: self.activation, dropout: None, pre: self.pre.as_ref() };
        self.up.forward(rec, x, &self.hidden, Some(then))?;
        self.down.forward(rec, &self.hidden, out, None)
    }

    // CONTRACT: `dy` is the gradient of the loss by the output `y`, whatever follows it, in the network's precision.

    /// Records the gradients of the parameters, and `dx`, that of the input, in f32.
    ///
    /// # Errors
    /// As the operations, and as `after`.
    pub fn backward(
        &self,
        rec: &mut Recorder<'_>,
        [x, y, dy, dx]: [&Tensor; 4],
        after: &mut After<'_>,
    ) -> Result<()> {
        let [up, down] = [&self.up, &self.down].map(|linear| linear.projection().number());
        self.down.backward_parameters(rec, dy, &self.hidden)?;
        let pre = self.pre.as_ref().unwrap_or(&self.hidden);
        let epilogue = Epilogue::Backward { pre, activation: self.activation, dropout: None };
        self.down.backward_input(rec, dy, &self.grad, epilogue)?;
        after(rec, Passage { layer: down, signals: Signals::Rows { x: &self.hidden, y, dy } })?;
        self.up.backward_parameters(rec, &self.grad, x)?;
        self.up.backward_input(rec, &self.grad, dx, Epilogue::None)?;
        after(rec, Passage { layer: up, signals: Signals::Rows { x, y: &self.hidden, dy: &self.grad } })
    }
}
