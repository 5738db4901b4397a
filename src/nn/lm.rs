//! A small byte-level language model: a decoder-only transformer with learned positions and a norm before each part.

use std::fmt;

use super::config::{MOST_DEPTH, expect_size};
use super::{Attention, Embedding, FeedForward, Linear, Module, Moe, MoeConfig, Norm, add};
use crate::gpu::DType;
use crate::graph::{Graph, LayerSparsity, Precision, Value, blocks};
use crate::ops::{Activation, HEADS};
use crate::sparse::{BLOCKS, Density};
use crate::{Error, Result};

/// Sizes and options of a byte-level language model.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LmConfig {
    /// The bytes that the text has, ascending. The id of a byte is its place here.
    pub vocabulary: Vec<u8>,
    /// Bytes of a window.
    pub context: usize,
    /// The width of the residual stream, a multiple of the block.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Blocks of attention and feed-forward network.
    pub depth: usize,
    /// Hidden units of a feed-forward network, padded inside to a multiple of the block.
    pub hidden: usize,
    /// Experts in the place of feed-forward networks, if there are any.
    pub experts: Option<MoeConfig>,
    /// Activation between the two layers of a feed-forward network.
    pub activation: Activation,
    /// The side of a block.
    pub block: usize,
    /// The share of blocks that are absent in every projection, in `[0, 1)`; `None` for layers that are stored densely.
    pub sparsity: Option<f64>,
    /// How the present blocks are shared out among the layers.
    pub density: Density,
    /// Where patterns and weights come from.
    pub seed: u64,
    /// Layers whose sparsity is their own.
    #[serde(default, skip_serializing_if = "LayerSparsity::is_default")]
    pub layers: LayerSparsity,
}

impl LmConfig {
    /// Refuses what makes no sense, each by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        if !BLOCKS.contains(&self.block) {
            return bad("block", format!("{} is none of {BLOCKS:?}", self.block));
        }
        if self.vocabulary.len() < 2 {
            return bad("data", format!("a text of {} different bytes", self.vocabulary.len()));
        }
        if !self.vocabulary.is_sorted_by(|a, b| a < b) {
            return bad("data", "the bytes of a vocabulary should ascend".to_owned());
        }
        for (option, size) in [("context", self.context), ("width", self.width), ("hidden", self.hidden)] {
            expect_size(option, size)?;
        }
        if self.depth > MOST_DEPTH {
            return bad("depth", format!("{} blocks; at most {MOST_DEPTH} can be run", self.depth));
        }
        for (option, value) in [("context", self.context), ("depth", self.depth)] {
            if value == 0 {
                return bad(option, "0 makes no model".to_owned());
            }
        }
        if self.width == 0 || !self.width.is_multiple_of(self.block) {
            let near = self.width.next_multiple_of(self.block).max(self.block);
            let reason = format!("{} is not a multiple of the block, {}; try {near}", self.width, self.block);
            return bad("width", reason);
        }
        if self.hidden == 0 {
            return bad("hidden", "a feed-forward network of 0 units gives nothing".to_owned());
        }
        if self.heads == 0
            || !self.width.is_multiple_of(self.heads)
            || !HEADS.contains(&(self.width / self.heads))
        {
            let reason = format!("{} of a width of {}; a head may be {HEADS:?} wide", self.heads, self.width);
            return bad("heads", reason);
        }
        self.experts.as_ref().map_or(Ok(()), MoeConfig::validate)?;
        let graph = self.graph(1, Precision::F32)?;
        graph.expect_own()?;
        graph.counts(None).map(|_| ())
    }

    /// The model as a graph for `batch` windows, a row for each byte: embeddings; blocks of attention and a feed-forward
    /// network or a mixture of experts, each behind a norm and added to the residual stream; a norm and the head.
    ///
    /// # Errors
    /// [`Error::Argument`] for sizes that overflow.
    pub fn graph(&self, batch: usize, precision: Precision) -> Result<Graph> {
        let mut graph = Graph::new(self.seed, precision);
        if let Some(sparsity) = self.sparsity {
            graph.allot(self.density, sparsity);
        }
        graph.set_layer_sparsity(&self.layers);
        let rows = batch.saturating_mul(self.context);
        let ids = graph.input("input", &[rows], DType::U32)?;
        let (vocabulary, width) = (self.vocabulary.len(), self.width);
        let embedding = Embedding { vocabulary, context: self.context, width };
        let mut x = embedding.apply(&mut graph, ids)?;
        for number in 0..self.depth {
            let name = format!("blocks.{number}");
            x = graph.scope(&name, |graph| self.block(graph, number, [x, ids]))?;
            graph.watch(x, &name)?;
        }
        let x = graph.scope("norm", |graph| Norm.apply(graph, x))?;
        let logits = graph.scope("head", |graph| Linear::new(width, vocabulary).apply(graph, x))?;
        graph.watch(logits, "head")?;
        graph.output(logits)?;
        Ok(graph)
    }

    /// Block number `number` of the residual stream `x`.
    fn block(&self, graph: &mut Graph, number: usize, [x, ids]: [Value; 2]) -> Result<Value> {
        let (width, sparse) = (self.width, self.sparsity.map(|_| blocks(self.block)));
        // Outputs that are added to the residual stream are drawn smaller, so that the stream keeps its variance over the depth.
        let variance = 1.0 / (2 * self.depth) as f64;
        let activation = self.activation.at_layer(number);
        let normed = graph.scope("norm_1", |graph| Norm.apply(graph, x))?;
        let attention = Attention { width, heads: self.heads, context: self.context, sparse, variance };
        let attended = graph.scope("attention", |graph| attention.apply(graph, normed))?;
        let x = add(graph, x, attended)?;
        let normed = graph.scope("norm_2", |graph| Norm.apply(graph, x))?;
        let fed = graph.scope("feed", |graph| match &self.experts {
            None => {
                let feed = FeedForward { width, hidden: self.hidden, activation, sparse, variance };
                feed.padded(graph, normed, self.block)
            }
            Some(config) => {
                let (config, block, sequence) = (config.clone(), self.block, self.context);
                let moe = Moe { config, activation, block, sparse, width, sequence, variance };
                Ok(moe.build(graph, &[normed, ids])?[0])
            }
        })?;
        add(graph, x, fed)
    }
}

/// Its sizes in words.
impl fmt::Display for LmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes, {} blocks of width {} with {} heads and ",
            self.context, self.depth, self.width, self.heads
        )?;
        match &self.experts {
            None => write!(f, "{} hidden units", self.hidden),
            Some(experts) => experts.fmt(f),
        }
    }
}
