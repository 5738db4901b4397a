//! Embedding of tokens, `y = table[id] + positions[place in the sequence]`.

use super::Module;
use super::module::single;
use crate::gpu::Recorder;
use crate::graph::{Backward, Forward, Graph, Init, Input, Node, Output, ParamSpec, Value, Weight, Wiring};
use crate::{Error, Result, ops};

/// Standard deviation of first embeddings.
const DEVIATION: f64 = 0.02;

/// Learned embeddings of tokens, and of their places in sequences of `context` tokens that follow each other.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// Number of tokens in the vocabulary.
    pub vocabulary: usize,
    /// Tokens of a sequence.
    pub context: usize,
    /// Width of an embedding.
    pub width: usize,
}

impl Module for Embedding {
    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let ids = single(graph, inputs)?;
        let op = graph.name("embedding");
        let &[rows] = graph.shape(ids)? else {
            return Err(Error::argument(op, "input", "token ids [rows]", format!("{:?}", graph.shape(ids)?)));
        };
        let init = Init::Deviation(DEVIATION);
        let table = ParamSpec::new("embedding.weight", &[self.vocabulary, self.width], init);
        let positions = ParamSpec::new("positions.weight", &[self.context, self.width], init);
        let wiring = Wiring {
            inputs: vec![Input::new(ids).kept().constant()],
            outputs: vec![Output::new(graph.name("embedded"), &[rows, self.width])],
            params: vec![graph.param(table)?, graph.param(positions)?],
            buffers: Vec::new(),
        };
        Ok(vec![graph.add_one(EmbeddingNode, wiring)?])
    }
}

#[derive(Debug)]
struct EmbeddingNode;

impl Node for EmbeddingNode {
    fn kind(&self) -> &'static str {
        "embedding"
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        ops::embed_gather(rec, pass.input(0), pass.param(0).values(), pass.param(1).values(), pass.output(0))
    }

    // CONTRACT: the gradient of the output is that of the loss by the sums of both embeddings.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        let grads = [pass.weight_grad(0), pass.weight_grad(1)].map(Weight::values);
        ops::embed_scatter(rec, pass.input(0), pass.output_grad(0), grads[0], grads[1])?;
        pass.done(rec, 0, None)?;
        pass.done(rec, 1, None)
    }
}
