//! One block of a language model: attention, then a feed-forward network, each added to the residual stream.

use super::LmConfig;
use super::norm::Norm;
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::nn::builder::Builder;
use crate::nn::{After, FeedForward, Linear, Parameter, Passage};
use crate::ops::{self, Attention, Epilogue};

/// A block, with room for what passes through.
#[derive(Debug)]
pub(super) struct Block {
    context: usize,
    norm_1: Norm,
    qkv: Linear,
    out: Linear,
    norm_2: Norm,
    feed: FeedForward,
    /// Queries, keys and values, `[rows, 3 * width]`.
    projected: Tensor,
    /// What attention gives, `[rows, width]`, and the logarithm of each sum of its exponentials, `[rows, heads]`.
    attended: Tensor,
    log_sums: Tensor,
    /// The residual stream between attention and feed-forward network, `[rows, width]`.
    middle: Tensor,
}

/// Gradients that no block needs any more once it is done.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Of what comes out of a norm, `[rows, width]`.
    normed: Tensor,
    /// Of what attention gives, `[rows, width]`, and what its own backward pass keeps, `[rows, heads]`.
    attended: Tensor,
    deltas: Tensor,
    /// `[rows, 3 * width]`.
    projected: Tensor,
}

impl Scratch {
    pub(super) fn new(gpu: &Gpu, config: &LmConfig, rows: usize) -> Result<Self> {
        let room = |width| gpu.alloc::<f32>(Class::Activations, "gradient", &[rows, width]);
        let width = config.width;
        Ok(Self {
            normed: room(width)?,
            attended: room(width)?,
            deltas: room(config.heads)?,
            projected: room(3 * width)?,
        })
    }
}

impl Block {
    /// A block of the next layers, and room for `rows` characters.
    pub(super) fn new(builder: &mut Builder<'_>, config: &LmConfig, rows: usize, name: &str) -> Result<Self> {
        let (gpu, width) = (builder.gpu(), config.width);
        let room = |label, width| gpu.alloc::<f32>(Class::Activations, label, &[rows, width]);
        // What is added to the residual stream is drawn smaller, so that the stream keeps its variance over the depth.
        let added = 1.0 / (2 * config.depth) as f64;
        Ok(Self {
            context: config.context,
            norm_1: Norm::new(gpu, &format!("{name}.norm_1"), [rows, width])?,
            qkv: builder.linear(1.0)?,
            out: builder.linear(added)?,
            norm_2: Norm::new(gpu, &format!("{name}.norm_2"), [rows, width])?,
            feed: FeedForward::new(builder, config.activation, rows, added)?,
            projected: room("queries, keys and values", 3 * width)?,
            attended: room("attended", width)?,
            log_sums: room("log sums", config.heads)?,
            middle: room("stream", width)?,
        })
    }

    pub(super) fn linears(&self) -> Vec<&Linear> {
        [&self.qkv, &self.out].into_iter().chain(self.feed.linears()).collect()
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        [&mut self.qkv, &mut self.out].into_iter().chain(self.feed.linears_mut()).collect()
    }

    pub(super) fn norms(&self) -> [Parameter<'_>; 2] {
        [self.norm_1.parameter(), self.norm_2.parameter()]
    }

    fn attention(&self) -> Attention<'_> {
        let Self { projected: qkv, attended: out, log_sums: lse, context, .. } = self;
        Attention { qkv, out, lse, context: *context }
    }

    /// Records `y[rows, width]` of `x[rows, width]`.
    pub(super) fn forward(&self, rec: &mut Recorder<'_>, x: &Tensor, y: &Tensor) -> Result<()> {
        self.norm_1.forward(rec, x)?;
        self.qkv.forward(rec, self.norm_1.out(), &self.projected, Epilogue::Bias(self.qkv.bias()))?;
        ops::attention_forward(rec, self.attention())?;
        self.out.forward(rec, &self.attended, &self.middle, Epilogue::Bias(self.out.bias()))?;
        ops::blend(rec, x, &self.middle, [1.0, 1.0])?;
        self.norm_2.forward(rec, &self.middle)?;
        self.feed.forward(rec, self.norm_2.out(), y)?;
        ops::blend(rec, &self.middle, y, [1.0, 1.0])
    }

    // CONTRACT: `dy` is the gradient of the loss by the output.

    /// Records the gradients of the parameters; `grad`, that of the output `y`, becomes that of the input `x`.
    pub(super) fn backward(
        &self,
        rec: &mut Recorder<'_>,
        [x, y, grad]: [&Tensor; 3],
        scratch: &Scratch,
        after: &mut After<'_>,
    ) -> Result<()> {
        let Scratch { normed, attended, deltas, projected } = scratch;
        let [qkv, out] = [&self.qkv, &self.out].map(|linear| linear.projection().number());
        self.feed.backward(rec, [self.norm_2.out(), y, grad, normed], after)?;
        self.norm_2.backward(rec, [&self.middle, normed, grad], true)?;

        self.out.backward_parameters(rec, grad, &self.attended)?;
        self.out.backward_input(rec, grad, attended, Epilogue::None)?;
        after(rec, Passage { layer: out, x: &self.attended, y: &self.middle, dy: grad })?;
        ops::attention_queries(rec, self.attention(), attended, deltas, projected)?;
        ops::attention_keys(rec, self.attention(), attended, deltas, projected)?;
        self.qkv.backward_parameters(rec, projected, self.norm_1.out())?;
        self.qkv.backward_input(rec, projected, normed, Epilogue::None)?;
        after(rec, Passage { layer: qkv, x: self.norm_1.out(), y: &self.projected, dy: projected })?;
        self.norm_1.backward(rec, [x, normed, grad], true)
    }
}
