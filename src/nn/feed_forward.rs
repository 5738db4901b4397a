//! Feed-forward network of two layers, `down(activation(up(x)))`.

use super::module::single;
use super::{Linear, Module};
use crate::Result;
use crate::graph::{Blocks, Graph, Value};
use crate::ops::Activation;

/// Feed-forward network of a transformer's block; a mixture of experts may take its place.
#[derive(Debug, Clone)]
pub struct FeedForward {
    /// Width of a row.
    pub width: usize,
    /// Hidden units, padded inside to a multiple of the block where the layers are sparse.
    pub hidden: usize,
    /// Activation of the hidden units.
    pub activation: Activation,
    /// Block sparsity of both layers; dense for `None`.
    pub sparse: Option<Blocks>,
    /// Variance of the output of first weights, where inputs have variance 1.
    pub variance: f64,
}

impl Module for FeedForward {
    fn input_width(&self) -> Option<usize> {
        Some(self.width)
    }

    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let x = single(graph, inputs)?;
        Ok(vec![self.padded(graph, x, self.sparse.map_or(1, |blocks| blocks.block))?])
    }
}

impl FeedForward {
    /// The network with its hidden units padded to a multiple of `block`.
    pub(super) fn padded(&self, graph: &mut Graph, x: Value, block: usize) -> Result<Value> {
        let (width, hidden) = (self.width, self.hidden.next_multiple_of(block.max(1)));
        let up = Linear::new(width, hidden).sparse(self.sparse).activation(self.activation);
        let down = Linear::new(hidden, width).sparse(self.sparse).variance(self.variance);
        let units = graph.scope("up", |graph| up.real_outputs(self.hidden).apply(graph, x))?;
        graph.scope("down", |graph| down.real_inputs(self.hidden).apply(graph, units))
    }
}
