//! Graph convolution, `y = activation(A * x * W^T + b)` (Kipf and Welling 2017).

use std::sync::Arc;

use half::f16;
use serde_json::json;

use super::linear::Linear;
use super::module::{Module, single};
use crate::gpu::{Class, DType, Gpu, Recorder};
use crate::graph::{Backward, Forward, Graph, Input, Node, Output, Units, Value, Wiring};
use crate::ops::{self, Transpose};
use crate::sparse::{Adjacency, BlockMatrix, Pattern};
use crate::{Error, Result};

/// A convolution over the nodes of a graph: each node reads the weighted sum of its neighbours' features and its own, and a linear layer
/// reads that. The sums are a product of the block-sparse [`Adjacency`] with the features, DSD.
///
/// Rows are nodes, in the order of the adjacency, with its padding: every pass has all of them.
#[derive(Debug, Clone)]
pub struct GraphConv {
    adjacency: Arc<Adjacency>,
    linear: Linear,
}

impl GraphConv {
    /// A convolution over this graph. Bias, activation and dropout are those of the linear layer, whose weight may be block-sparse.
    pub fn new(adjacency: &Arc<Adjacency>, linear: Linear) -> Self {
        Self { adjacency: Arc::clone(adjacency), linear }
    }
}

impl Module for GraphConv {
    fn input_width(&self) -> Option<usize> {
        self.linear.input_width()
    }

    fn rows(&self) -> Option<usize> {
        Some(self.adjacency.places())
    }

    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let x = single(graph, inputs)?;
        let op = graph.name("graph convolution");
        let [rows, width] = graph.matrix(&op, x)?;
        if rows != self.adjacency.places() {
            let wanted = format!("{} rows, the places of the graph's nodes", self.adjacency.places());
            return Err(Error::argument(op, "input", wanted, rows));
        }
        let operand = graph.operand();
        let output = Output::new(graph.name("neighbours"), &[rows, width]);
        let wiring = Wiring {
            inputs: vec![Input::new(x).of(operand)],
            outputs: vec![output.of(operand).grad_of(operand).units(Units::Of(x))],
            ..Wiring::default()
        };
        let node = NeighboursNode { adjacency: Arc::clone(&self.adjacency), dtype: operand, matrix: None };
        let sums = graph.add_one(node, wiring)?;
        self.linear.build(graph, &[sums])
    }
}

/// Sums over neighbours.
#[derive(Debug, Clone)]
struct NeighboursNode {
    adjacency: Arc<Adjacency>,
    /// Type of the operands of products.
    dtype: DType,
    matrix: Option<BlockMatrix>,
}

impl NeighboursNode {
    fn matrix(&self) -> Result<&BlockMatrix> {
        let unbound = || Error::argument("graph convolution", "node", "bound to a device", "not bound");
        self.matrix.as_ref().ok_or_else(unbound)
    }
}

impl Node for NeighboursNode {
    fn kind(&self) -> &'static str {
        "neighbours"
    }

    /// The graph by its size and a checksum: a run goes on with no other.
    fn options(&self) -> serde_json::Value {
        let (topology, values) = (self.adjacency.topology(), self.adjacency.values());
        let words = topology.packed().into_iter().chain(values.iter().map(|value| value.to_bits()));
        // FNV-1a, word by word.
        let checksum = words.fold(0x811C_9DC5u32, |sum, word| (sum ^ word).wrapping_mul(0x0100_0193));
        json!({ "nodes": self.adjacency.nodes(), "blocks": topology.nnz(), "checksum": checksum })
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        ops::dsd(rec, self.matrix()?, pass.input(0), pass.output(0), Transpose::NN)
    }

    // CONTRACT: `dy` is the gradient of the loss by the sums.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        match pass.input_grad(0) {
            Some(dx) => ops::dsd(rec, self.matrix()?, pass.output_grad(0), dx.tensor, Transpose::TN),
            None => Ok(()),
        }
    }

    fn bind(&mut self, gpu: &Gpu) -> Result<()> {
        let (class, label) = (Class::Values, "adjacency");
        let pattern = Pattern::upload(gpu, self.adjacency.topology())?;
        let values = self.adjacency.values();
        self.matrix = Some(match self.dtype {
            DType::F16 => {
                let halves: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
                BlockMatrix::upload(gpu, class, label, &pattern, &halves)?
            }
            _ => BlockMatrix::upload(gpu, class, label, &pattern, values)?,
        });
        Ok(())
    }

    fn bound(&self) -> Result<Vec<(Class, &'static str, u128, u64)>> {
        let words = self.adjacency.topology().packed().len() as u128;
        let values = self.adjacency.values().len() as u128;
        Ok(vec![
            (Class::Topology, "topology", words, DType::U32.size()),
            (Class::Values, "adjacency", values, self.dtype.size()),
        ])
    }

    fn linearised(&self) -> Option<Box<dyn Node>> {
        Some(Box::new(self.clone()))
    }
}
