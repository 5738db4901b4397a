//! A small character-level language model: a decoder-only transformer with learned positions and norms before each part.

mod block;
mod config;
mod norm;

pub use config::LmConfig;

use super::builder::Builder;
use super::{
    After, FanIn, Linear, Load, Moe, Network, Operand, Param, Parameter, Passage, Precision, Projection,
    Signals,
};
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::{self, Epilogue, Step};
use crate::sparse::Topology;
use block::{Block, Scratch};
use norm::Norm;

/// The standard deviation of first embeddings.
const EMBEDDING: f64 = 0.02;

/// The model, with room for a batch of windows to pass through. A row is a character.
#[derive(Debug)]
pub struct Lm {
    config: LmConfig,
    embedding: Param,
    positions: Param,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
    /// The characters, `[rows]`.
    input: Tensor,
    /// The residual stream before each block, and after the last, `[rows, width]`.
    stream: Vec<Tensor>,
    logits: Tensor,
    logits_grad: Tensor,
    /// The latter, scaled.
    scaled_grad: Operand,
    /// The gradient of the residual stream, and of what the norm before the head gives.
    grad: Tensor,
    normed_grad: Tensor,
    scratch: Scratch,
}

impl Lm {
    /// A model with these patterns, a layer each, and weights drawn from the seed; and room for `batch` windows.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) as [`LmConfig::validate`],
    /// [`Error::Argument`](crate::Error::Argument) if a pattern does not fit its layer,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(
        gpu: &Gpu,
        config: LmConfig,
        batch: usize,
        topologies: &[Option<Topology>],
        fan_in: FanIn,
        precision: Precision,
    ) -> Result<Self> {
        config.validate()?;
        let (rows, width, classes) = (batch * config.context, config.width, config.vocabulary.len());
        let layers = config.layers();
        let others = layers.len();
        let mut builder = Builder::new(gpu, layers, topologies, fan_in, config.seed, precision)?;
        let table = |builder: &Builder<'_>, name: &str, rows: usize, number: usize| {
            // A draw of this variance, whatever the number of inputs.
            let values = builder.init(number, EMBEDDING * EMBEDDING).draw(1.0, rows * width);
            Param::new(gpu, format!("{name}.weight"), &[rows, width], &values)
        };
        let room = |label, width| gpu.alloc::<f32>(Class::Activations, label, &[rows, width]);
        let block = |number| Block::new(&mut builder, &config, rows, number);
        let blocks = (0..config.depth).map(block).collect::<Result<_>>()?;
        Ok(Self {
            embedding: table(&builder, "embedding", classes, others)?,
            positions: table(&builder, "positions", config.context, others + 1)?,
            blocks,
            norm: Norm::new(gpu, "norm", [rows, width], precision)?,
            head: builder.linear(1.0)?,
            input: gpu.zeros::<u32>(Class::Activations, "input", &[rows])?,
            stream: (0..=config.depth).map(|_| room("stream", width)).collect::<Result<_>>()?,
            logits: room("logits", classes)?,
            logits_grad: room("gradient of logits", classes)?,
            scaled_grad: Operand::new(
                gpu,
                [Precision::F32, precision],
                "scaled gradient of logits",
                &[rows, classes],
            )?,
            grad: room("gradient", width)?,
            normed_grad: room("gradient", width)?,
            scratch: Scratch::new(gpu, &config, rows, precision)?,
            config,
        })
    }

    /// The mixtures of experts, with the numbers of their blocks.
    fn mixtures(&self) -> impl Iterator<Item = (usize, &Moe)> {
        self.blocks.iter().enumerate().filter_map(|(number, block)| Some((number, block.experts()?)))
    }

    /// What the model was made from.
    pub fn config(&self) -> &LmConfig {
        &self.config
    }
}

impl Network for Lm {
    fn layers(&self) -> Vec<&Projection> {
        self.blocks.iter().flat_map(Block::projections).chain([self.head.projection()]).collect()
    }

    fn layer_mut(&mut self, layer: usize) -> Option<&mut Projection> {
        let blocks = self.blocks.iter_mut().flat_map(Block::projections_mut);
        blocks.chain([self.head.projection_mut()]).nth(layer)
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let tables = [self.embedding.parameter(), self.positions.parameter()];
        let blocks = self.blocks.iter().flat_map(Block::parameters);
        let last = [self.norm.parameter()].into_iter().chain(self.head.parameters());
        tables.into_iter().chain(blocks).chain(last).collect()
    }

    fn state(&self) -> Vec<(String, &Tensor)> {
        let mut state = Vec::new();
        for (number, moe) in self.mixtures() {
            let parts = moe.state().into_iter();
            state.extend(parts.map(|(part, tensor)| (format!("blocks.{number}.feed.{part}"), tensor)));
        }
        state
    }

    fn loads(&self) -> Vec<Load<'_>> {
        self.mixtures().map(|(number, moe)| moe.load(format!("blocks.{number}.feed"))).collect()
    }

    fn input(&self) -> &Tensor {
        &self.input
    }

    fn logits(&self) -> &Tensor {
        &self.logits
    }

    fn logits_grad(&self) -> &Tensor {
        &self.logits_grad
    }

    fn forward(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        let Self { embedding, positions, input, stream, .. } = self;
        ops::embed_gather(rec, input, embedding.values(), positions.values(), &stream[0])?;
        for (block, pair) in self.blocks.iter().zip(stream.windows(2)) {
            block.forward(rec, [&pair[0], input, &pair[1]], step)?;
        }
        self.norm.forward(rec, &stream[self.config.depth])?;
        self.head.forward(rec, self.norm.out(), &self.logits, None)
    }

    fn backward_with(
        &self,
        rec: &mut Recorder<'_>,
        step: Option<&Step>,
        after: &mut After<'_>,
    ) -> Result<()> {
        let Self { embedding, positions, input, stream, logits, grad, normed_grad, .. } = self;
        let depth = self.config.depth;
        let (x, dy) = (self.norm.out(), self.scaled_grad.begin(rec, &self.logits_grad, step)?);
        self.head.backward_parameters(rec, dy, x)?;
        self.head.backward_input(rec, dy, normed_grad, Epilogue::None)?;
        let signals = Signals::Rows { x, y: logits, dy };
        after(rec, Passage { layer: self.head.projection().number(), signals })?;
        self.norm.backward(rec, [&stream[depth], normed_grad, grad], false)?;
        for (block, pair) in self.blocks.iter().zip(stream.windows(2)).rev() {
            block.backward(rec, [&pair[0], input, &pair[1], grad], &self.scratch, step, after)?;
        }
        ops::embed_scatter(rec, input, grad, embedding.grads(), positions.grads())
    }

    fn stages(&self) -> Vec<String> {
        self.layers().into_iter().map(|layer| layer.name().to_owned()).collect()
    }

    /// What is not finite in a block is not finite in the residual stream after it.
    fn scan(&self, rec: &mut Recorder<'_>, status: &Tensor) -> Result<()> {
        let layers = self.layers();
        let each = layers.len() / self.blocks.len();
        for (number, stream) in self.stream[1..].iter().enumerate() {
            ops::finite(rec, stream, status, (number + 1) * each - 1, 1)?;
        }
        ops::finite(rec, &self.logits, status, layers.len() - 1, 1)?;
        // Where gradients are scaled, one that is too large costs a step and is no failure.
        for layer in layers.into_iter().filter(|_| !self.scaled_grad.is_copy()) {
            ops::finite(rec, layer.weight_grad().values(), status, layer.number(), 2)?;
        }
        Ok(())
    }
}
