//! Causal attention of several heads.

use serde_json::json;

use super::module::single;
use super::{Linear, Module};
use crate::gpu::{DType, Recorder};
use crate::graph::{Backward, Blocks, Buffer, Forward, Graph, Input, Node, Output, Value, Wiring};
use crate::{Error, Result, ops};

/// Causal attention between the projections to queries, keys and values (`qkv`) and from the heads (`out`), on sequences of
/// `context` rows that follow each other.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Width of a row, a multiple of the heads.
    pub width: usize,
    /// Number of heads; the width of one is in [`HEADS`](crate::ops::HEADS).
    pub heads: usize,
    /// Rows of a sequence.
    pub context: usize,
    /// Block sparsity of both projections; dense for `None`.
    pub sparse: Option<Blocks>,
    /// Variance of the output of first weights, where inputs have variance 1.
    pub variance: f64,
}

impl Module for Attention {
    fn input_width(&self) -> Option<usize> {
        Some(self.width)
    }

    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let x = single(graph, inputs)?;
        let Self { width, heads, context, sparse, variance } = *self;
        let op = graph.name("attention");
        let [rows, _] = graph.matrix(&op, x)?;
        if heads == 0 || context == 0 || !width.is_multiple_of(heads) || !rows.is_multiple_of(context) {
            let found = format!("width {width}, {heads} heads, {rows} rows in sequences of {context}");
            return Err(Error::argument(op, "sizes", "whole heads and sequences", found));
        }
        let project = Linear::new(width, 3 * width).sparse(sparse);
        let projected = graph.scope("qkv", |graph| project.apply(graph, x))?;
        let wiring = Wiring {
            inputs: vec![Input::new(projected).of(DType::F32).kept()],
            outputs: vec![Output::new(graph.name("attended"), &[rows, width]).kept()],
            params: Vec::new(),
            buffers: vec![
                Buffer::kept("log sums", &[rows, heads], DType::F32),
                Buffer::scratch("deltas", &[rows, heads], DType::F32),
            ],
        };
        let attended = graph.add_one(AttentionNode { context, heads }, wiring)?;
        let out = Linear::new(width, width).sparse(sparse).variance(variance);
        Ok(vec![graph.scope("out", |graph| out.apply(graph, attended))?])
    }
}

#[derive(Debug)]
struct AttentionNode {
    context: usize,
    heads: usize,
}

impl AttentionNode {
    fn tensors<'a>(&self, pass: &Forward<'a>) -> Result<ops::Attention<'a>> {
        let lse = pass.buffer("log sums")?;
        Ok(ops::Attention { qkv: pass.input(0), out: pass.output(0), lse, context: self.context })
    }
}

impl Node for AttentionNode {
    fn kind(&self) -> &'static str {
        "attention"
    }

    fn options(&self) -> serde_json::Value {
        json!({ "context": self.context, "heads": self.heads })
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        ops::attention_forward(rec, self.tensors(pass)?)
    }

    // CONTRACT: `grad` is the gradient of the loss by the mean values that attention gives.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        let Some(dx) = pass.input_grad(0) else { return Ok(()) };
        let (grad, deltas, attention) =
            (pass.output_grad(0), pass.buffer("deltas")?, self.tensors(pass.forward())?);
        ops::attention_queries(rec, attention, grad, deltas, dx.tensor)?;
        ops::attention_keys(rec, attention, grad, deltas, dx.tensor)
    }
}
