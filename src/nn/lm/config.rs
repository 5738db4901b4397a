//! What language model to make.

use std::fmt;

use crate::nn::config::{MOST_DEPTH, counts, expect_size};
use crate::nn::{FeedForward, LayerShape, MoeConfig};
use crate::ops::{Activation, HEADS};
use crate::sparse::{BLOCKS, Density};
use crate::{Error, Result};

/// What language model to make.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LmConfig {
    /// The characters it knows, ascending. A character's number is its place here.
    pub vocabulary: Vec<u8>,
    /// Characters that it sees at a time.
    pub context: usize,
    /// The width of the residual stream, a multiple of the block.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Blocks of attention and feed-forward network.
    pub depth: usize,
    /// Hidden units of a feed-forward network, a multiple of the block.
    pub hidden: usize,
    /// Experts in the place of feed-forward networks, if there are any.
    pub experts: Option<MoeConfig>,
    /// What stands between the two layers of a feed-forward network.
    pub activation: Activation,
    /// The side of a block.
    pub block: usize,
    /// The share of blocks that are absent in every projection, in `[0, 1)`; `None` for layers that are stored densely.
    pub sparsity: Option<f64>,
    /// How the present blocks are shared out among the layers.
    pub density: Density,
    /// Where patterns and weights come from.
    pub seed: u64,
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
            return bad("data", format!("a text of {} different characters", self.vocabulary.len()));
        }
        if !self.vocabulary.is_sorted_by(|a, b| a < b) {
            return bad("data", "the characters of a model should ascend".to_owned());
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
        for (option, value) in [("width", self.width), ("hidden", self.hidden)] {
            if value == 0 || value % self.block != 0 {
                let near = value.next_multiple_of(self.block).max(self.block);
                let reason = format!("{value} is not a multiple of the block, {}; try {near}", self.block);
                return bad(option, reason);
            }
        }
        if self.heads == 0
            || !self.width.is_multiple_of(self.heads)
            || !HEADS.contains(&(self.width / self.heads))
        {
            let reason = format!("{} of a width of {}; a head may be {HEADS:?} wide", self.heads, self.width);
            return bad("heads", reason);
        }
        self.experts.as_ref().map_or(Ok(()), |experts| experts.validate(self.block))?;
        counts(&self.layers(), self.block, self.density, self.sparsity).map(|_| ())
    }

    /// The layers: of each block the projections to queries, keys and values and from attention, and the feed-forward network;
    /// and in the end the head, which is dense.
    pub fn layers(&self) -> Vec<LayerShape> {
        let (width, sparse) = (self.width, self.sparsity.is_some());
        let mut layers = Vec::new();
        for block in 0..self.depth {
            let name = format!("blocks.{block}");
            // Numbers of the units between attention's layers, and within the feed-forward network or the experts. Another one
            // is the shared expert's.
            let [projected, attended, hidden] = [0, 1, 2].map(|part| 4 * block + part);
            for (part, sides, units) in [
                ("qkv", [3 * width, width], [Some(projected), None]),
                ("out", [width, width], [None, Some(attended)]),
            ] {
                layers.push(LayerShape {
                    name: format!("{name}.attention.{part}"),
                    sides,
                    sparse,
                    bias: true,
                    units,
                });
            }
            let feed = format!("{name}.feed");
            match &self.experts {
                None => layers.extend(FeedForward::layers(&feed, width, self.hidden, sparse, hidden)),
                Some(experts) => layers.extend(experts.layers(&feed, width, sparse, hidden)),
            }
        }
        let sides = [self.vocabulary.len(), width];
        layers.push(LayerShape {
            name: "head".to_owned(),
            sides,
            sparse: false,
            bias: true,
            units: [None; 2],
        });
        layers
    }

    /// Elements of all parameters if every block were present.
    pub fn params_dense(&self) -> usize {
        let size = |layer: &LayerShape| layer.sides[0] * (layer.sides[1] + usize::from(layer.bias));
        let layers: usize = self.layers().iter().map(size).sum();
        let tables = (self.vocabulary.len() + self.context) * self.width;
        layers + tables + (2 * self.depth + 1) * self.width
    }
}

/// Its sizes in words.
impl fmt::Display for LmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} characters, {} blocks of width {} with {} heads and ",
            self.context, self.depth, self.width, self.heads
        )?;
        match &self.experts {
            None => write!(f, "{} hidden units", self.hidden),
            Some(experts) => experts.fmt(f),
        }
    }
}
