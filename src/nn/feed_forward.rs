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
    /// Hidden units.
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
        let up = Linear::new(self.width, self.hidden).sparse(self.sparse).activation(self.activation);
        let down = Linear::new(self.hidden, self.width).sparse(self.sparse).variance(self.variance);
        let hidden = graph.scope("up", |graph| up.apply(graph, x))?;
        Ok(vec![graph.scope("down", |graph| down.apply(graph, hidden))?])
    }
}
