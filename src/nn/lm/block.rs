//! One block of a language model: attention, then a feed-forward network, each added to the residual stream.

use super::LmConfig;
use super::norm::Norm;
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::nn::builder::Builder;
use crate::nn::{
    After, FeedForward, Linear, Moe, Operand, Parameter, Passage, Precision, Projection, Signals,
};
use crate::ops::{self, Attention, Epilogue, Step};
use crate::random::{Key, Stream};

/// What follows attention.
#[derive(Debug)]
pub(super) enum Feed {
    Dense(Box<FeedForward>),
    Experts(Box<Moe>),
}

/// A block, with room for what passes through.
#[derive(Debug)]
pub(super) struct Block {
    context: usize,
    norm_1: Norm,
    qkv: Linear,
    out: Linear,
    norm_2: Norm,
    feed: Feed,
    /// Queries, keys and values, `[rows, 3 * width]`.
    projected: Tensor,
    /// What attention gives, `[rows, width]`, and the logarithm of each sum of its exponentials, `[rows, heads]`.
    attended: Tensor,
    attended_operand: Operand,
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
    projected_operand: Operand,
    /// Of the residual stream, whose own place is the network's, `[rows, width]`.
    stream_operand: Operand,
}

impl Scratch {
    pub(super) fn new(gpu: &Gpu, config: &LmConfig, rows: usize, precision: Precision) -> Result<Self> {
        let room = |width| gpu.alloc::<f32>(Class::Activations, "gradient", &[rows, width]);
        let operand = |width| Operand::new(gpu, [Precision::F32, precision], "gradient", &[rows, width]);
        let width = config.width;
        Ok(Self {
            normed: room(width)?,
            attended: room(width)?,
            deltas: room(config.heads)?,
            projected: room(3 * width)?,
            projected_operand: operand(3 * width)?,
            stream_operand: operand(width)?,
        })
    }
}

impl Block {
    /// A block of the next layers, and room for `rows` characters.
    pub(super) fn new(
        builder: &mut Builder<'_>,
        config: &LmConfig,
        rows: usize,
        number: usize,
    ) -> Result<Self> {
        let name = format!("blocks.{number}");
        let (gpu, width, precision) = (builder.gpu(), config.width, builder.precision());
        let room = |label, width| gpu.alloc::<f32>(Class::Activations, label, &[rows, width]);
        // What is added to the residual stream is drawn smaller, so that the stream keeps its variance over the depth.
        let added = 1.0 / (2 * config.depth) as f64;
        let activation = config.activation.at_layer(number);
        Ok(Self {
            context: config.context,
            norm_1: Norm::new(gpu, &format!("{name}.norm_1"), [rows, width], precision)?,
            qkv: builder.linear(1.0)?,
            out: builder.linear(added)?,
            norm_2: Norm::new(gpu, &format!("{name}.norm_2"), [rows, width], precision)?,
            feed: match &config.experts {
                None => {
                    let feed = FeedForward::new(builder, activation, rows, added)?;
                    Feed::Dense(Box::new(feed))
                }
                Some(experts) => {
                    let key = Key::new(config.seed, Stream::Gate(number as u32));
                    let block = config.block;
                    let sizes = [rows / config.context, config.context, width];
                    let moe = Moe::within(builder, experts, activation, block, sizes, added, key)?;
                    Feed::Experts(Box::new(moe))
                }
            },
            projected: room("queries, keys and values", 3 * width)?,
            attended: room("attended", width)?,
            attended_operand: Operand::new(gpu, [Precision::F32, precision], "attended", &[rows, width])?,
            log_sums: room("log sums", config.heads)?,
            middle: room("stream", width)?,
        })
    }

    /// The matrices, in the order in which they were made.
    pub(super) fn projections(&self) -> Vec<&Projection> {
        let attention = [&self.qkv, &self.out].map(Linear::projection).into_iter();
        match &self.feed {
            Feed::Dense(feed) => attention.chain(feed.linears().map(Linear::projection)).collect(),
            Feed::Experts(moe) => attention.chain(moe.projections()).collect(),
        }
    }

    /// The same, to be changed.
    pub(super) fn projections_mut(&mut self) -> Vec<&mut Projection> {
        let attention = [&mut self.qkv, &mut self.out].map(Linear::projection_mut).into_iter();
        match &mut self.feed {
            Feed::Dense(feed) => attention.chain(feed.linears_mut().map(Linear::projection_mut)).collect(),
            Feed::Experts(moe) => attention.chain(moe.projections_mut()).collect(),
        }
    }

    /// What is trained.
    pub(super) fn parameters(&self) -> Vec<Parameter<'_>> {
        let attention = [&self.qkv, &self.out].into_iter().flat_map(Linear::parameters);
        let norms = [self.norm_1.parameter(), self.norm_2.parameter()];
        let feed = match &self.feed {
            Feed::Dense(feed) => feed.linears().into_iter().flat_map(Linear::parameters).collect(),
            Feed::Experts(moe) => moe.parameters(),
        };
        attention.chain(feed).chain(norms).collect()
    }

    /// The mixture of experts, if there is one.
    pub(super) fn experts(&self) -> Option<&Moe> {
        match &self.feed {
            Feed::Dense(_) => None,
            Feed::Experts(moe) => Some(moe),
        }
    }

    fn attention(&self) -> Attention<'_> {
        let Self { projected: qkv, attended: out, log_sums: lse, context, .. } = self;
        Attention { qkv, out, lse, context: *context }
    }

    /// Records `y[rows, width]` of `x[rows, width]`; `ids[rows]` are the characters.
    pub(super) fn forward(
        &self,
        rec: &mut Recorder<'_>,
        [x, ids, y]: [&Tensor; 3],
        step: Option<&Step>,
    ) -> Result<()> {
        self.norm_1.forward(rec, x)?;
        self.qkv.forward(rec, self.norm_1.out(), &self.projected, None)?;
        ops::attention_forward(rec, self.attention())?;
        let attended = self.attended_operand.take(rec, &self.attended)?;
        self.out.forward(rec, attended, &self.middle, None)?;
        ops::blend(rec, x, &self.middle, [1.0, 1.0])?;
        self.norm_2.forward(rec, &self.middle)?;
        match &self.feed {
            Feed::Dense(feed) => feed.forward(rec, self.norm_2.out(), y)?,
            Feed::Experts(moe) => moe.forward(rec, [self.norm_2.out(), ids, y], step)?,
        }
        ops::blend(rec, &self.middle, y, [1.0, 1.0])
    }

    // CONTRACT: `dy` is the gradient of the loss by the output.

    /// Records the gradients of the parameters; `grad`, that of the output `y`, becomes that of the input `x`.
    pub(super) fn backward(
        &self,
        rec: &mut Recorder<'_>,
        [x, ids, y, grad]: [&Tensor; 4],
        scratch: &Scratch,
        step: Option<&Step>,
        after: &mut After<'_>,
    ) -> Result<()> {
        let Scratch { normed, attended, deltas, projected, .. } = scratch;
        let [qkv, out] = [&self.qkv, &self.out].map(|linear| linear.projection().number());
        let (input, dy) = (self.norm_2.out(), scratch.stream_operand.take(rec, grad)?);
        match &self.feed {
            Feed::Dense(feed) => feed.backward(rec, [input, y, dy, normed], after)?,
            Feed::Experts(moe) => moe.backward(rec, [input, ids, y], [dy, normed], step, after)?,
        }
        self.norm_2.backward(rec, [&self.middle, normed, grad], true)?;

        let (input, dy) = (self.attended_operand.of(&self.attended), scratch.stream_operand.take(rec, grad)?);
        self.out.backward_parameters(rec, dy, input)?;
        self.out.backward_input(rec, dy, attended, Epilogue::None)?;
        after(rec, Passage { layer: out, signals: Signals::Rows { x: input, y: &self.middle, dy } })?;
        ops::attention_queries(rec, self.attention(), attended, deltas, projected)?;
        ops::attention_keys(rec, self.attention(), attended, deltas, projected)?;
        let (input, dy) = (self.norm_1.out(), scratch.projected_operand.take(rec, projected)?);
        self.qkv.backward_parameters(rec, dy, input)?;
        self.qkv.backward_input(rec, dy, normed, Epilogue::None)?;
        after(rec, Passage { layer: qkv, signals: Signals::Rows { x: input, y: &self.projected, dy } })?;
        self.norm_1.backward(rec, [x, normed, grad], true)
    }
}
