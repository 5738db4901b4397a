//! Questions that methods, reports and checkpoints ask a graph.

use super::build::{Graph, ValueInfo};
use super::spec::{ParamId, ParamSpec};
use super::value::Origin;
use super::wiring::Output;
use super::{Init, Layer};
use crate::gpu::DType;
use crate::ops::Activation;
use crate::{Error, Result};

impl Graph {
    /// Ordinals of the parameters' random draws: matrices in order, then everything else that is drawn, so that the draws of
    /// matrices do not depend on tables and gains.
    pub(super) fn streams(&self) -> Vec<u32> {
        let mut streams = vec![0; self.params.len()];
        let is_matrix = |param: &ParamSpec| param.matrix.is_some();
        let is_drawn = |param: &ParamSpec| !matches!(param.init, Init::Constant(_));
        let ranks: [&dyn Fn(&ParamSpec) -> bool; 3] =
            [&is_matrix, &|param| !is_matrix(param) && is_drawn(param), &|param| {
                !is_matrix(param) && !is_drawn(param)
            }];
        let mut next = 0;
        for rank in ranks {
            for (stream, _) in streams.iter_mut().zip(&self.params).filter(|(_, param)| rank(param)) {
                *stream = next;
                next += 1;
            }
        }
        streams
    }

    /// Matrices of products, in order.
    pub fn layers(&self) -> Vec<Layer> {
        let units = self.units();
        let layer = |(param, units): (&ParamSpec, [Option<usize>; 2])| {
            let matrix = param.matrix.as_ref();
            Layer {
                name: param.name.rsplit_once('.').map_or(param.name.as_str(), |(layer, _)| layer).to_owned(),
                sides: [param.shape[0], param.shape[1]],
                block: matrix.and_then(|matrix| matrix.sparse).map(|blocks| blocks.block),
                bias: matrix.is_some_and(|matrix| matrix.biased),
                units,
            }
        };
        self.matrices().zip(units).map(layer).collect()
    }

    /// Elements of all parameters if every block were present, but for those of heads.
    pub fn params_dense(&self) -> usize {
        let params = self.params.iter().zip(self.head_params()).filter(|(_, of_heads)| !of_heads);
        params.fold(0, |sum, (param, _)| sum.saturating_add(param.real_elements()))
    }

    /// Activation that is fused behind the product of a matrix.
    pub fn activation(&self, param: ParamId) -> Option<Activation> {
        self.params.get(param.0)?.matrix.as_ref()?.activation
    }

    /// The matrix whose rows stand for the units that this one's columns read, where there is just one: that of the layer before.
    pub fn feeding(&self, param: ParamId) -> Option<ParamId> {
        let ids: Vec<ParamId> = self.ids().filter(|id| self.params[id.0].matrix.is_some()).collect();
        let units = self.units();
        let at = ids.iter().position(|&id| id == param)?;
        let input = units[at][1]?;
        let mut writers = ids.iter().zip(&units).filter(|(_, units)| units[0] == Some(input));
        match (writers.next(), writers.next()) {
            (Some((&id, _)), None) => Some(id),
            _ => None,
        }
    }

    /// Ids of all parameters.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> {
        (0..self.params.len()).map(ParamId)
    }

    /// The matrices in order, where the graph is a plain chain: each node reads the output of the one before, and nothing else. Heads
    /// are left out.
    pub fn chain(&self) -> Option<Vec<ParamId>> {
        let mut matrices = Vec::new();
        let nodes = self.nodes.iter().zip(self.head_nodes()).filter(|(_, is_head)| !is_head);
        for (at, (node, _)) in nodes.enumerate() {
            let ([input], [_]) = (node.wiring.inputs.as_slice(), node.outputs.as_slice()) else {
                return None;
            };
            let before = match self.values[self.stored(input.value.index)].origin {
                Origin::Node { node, .. } => node + 1,
                _ => 0,
            };
            if before != at {
                return None;
            }
            matrices
                .extend(node.wiring.params.iter().copied().filter(|id| self.params[id.0].matrix.is_some()));
        }
        Some(matrices)
    }

    /// The network without activations, dropout and biases' effect on gradients: what flows through is linear in the input.
    ///
    /// # Errors
    /// [`Error::Config`] naming a node that isn't linear without activations, such as a norm.
    pub fn linearised(self) -> Result<Self> {
        let mut graph = self;
        graph.precision = super::Precision::F32;
        let float = |dtype: &mut DType| {
            if *dtype == DType::F16 {
                *dtype = DType::F32;
            }
        };
        let plain = |output: &mut Output| {
            output.fused = None;
            float(&mut output.dtype);
            float(&mut output.grad);
        };
        for value in &mut graph.values {
            value.output.iter_mut().for_each(plain);
            float(&mut value.dtype);
        }
        for param in &mut graph.params {
            if let Some(matrix) = &mut param.matrix {
                matrix.operand = DType::F32;
            }
        }
        for entry in &mut graph.nodes {
            let Some(node) = entry.node.linearised() else {
                let reason = format!("follows what flows through linear layers, and {} is none", entry.name);
                return Err(Error::Config { option: "method", reason });
            };
            entry.node = node;
            entry.wiring.outputs.iter_mut().for_each(plain);
            entry.wiring.inputs.iter_mut().for_each(|input| input.dtype = None);
            entry.wiring.buffers.retain(|buffer| buffer.name != super::PRE);
        }
        Ok(graph)
    }

    /// Kinds of the nodes, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.nodes.iter().map(|node| node.node.kind())
    }

    /// Kinds of the nodes that read a sparse matrix, in order.
    pub fn sparse_kinds(&self) -> impl Iterator<Item = &'static str> {
        let is_sparse = |id: &ParamId| self.params[id.0].grid().is_some();
        let nodes = self.nodes.iter().filter(move |entry| entry.wiring.params.iter().any(is_sparse));
        nodes.map(|entry| entry.node.kind())
    }

    /// Sparse matrices and their names, in order.
    pub fn sparse_params(&self) -> impl Iterator<Item = (ParamId, &str)> {
        let params = self.params.iter().enumerate().filter(|(_, param)| param.grid().is_some());
        params.map(|(at, param)| (ParamId(at), param.name.as_str()))
    }

    /// Name of the first node that isn't linear without activations, such as a norm.
    pub fn nonlinear(&self) -> Option<&str> {
        let entry = self.nodes.iter().find(|entry| entry.node.linearised().is_none())?;
        Some(&entry.name)
    }

    /// Whether parts of the network have [heads](Graph::head), with losses of their own.
    pub fn has_heads(&self) -> bool {
        !self.heads.is_empty()
    }

    /// Name, shape and type of each input.
    pub fn input_shapes(&self) -> Vec<(&str, &[usize], DType)> {
        let info = self.inputs.iter().map(|&index| &self.values[index]);
        info.map(|value| (value.name.as_str(), value.shape.as_slice(), value.dtype)).collect()
    }

    /// Name and shape of each output.
    pub fn output_shapes(&self) -> Vec<(&str, &[usize])> {
        let info = self.outputs.iter().map(|&index| &self.values[index]);
        info.map(|value| (value.name.as_str(), value.shape.as_slice())).collect()
    }

    /// The parts of a graph in words: nodes of heads, and the values behind which gradients stop.
    fn describe_parts(&self) -> serde_json::Value {
        let heads = self.nodes.iter().zip(self.head_nodes()).filter(|(_, is_head)| *is_head);
        let heads: Vec<_> = heads
            .map(|(node, _)| {
                let read = node.wiring.inputs.iter().map(|input| self.stored(input.value.index));
                serde_json::json!({ "kind": node.node.kind(), "name": node.name, "inputs": read.collect::<Vec<_>>() })
            })
            .collect();
        let stops = |shallow: bool| {
            let of = |info: &ValueInfo| match info.origin {
                Origin::Detached(of) if !shallow => Some(of),
                Origin::Shallow(of) if shallow => Some(of),
                _ => None,
            };
            self.values.iter().filter_map(of).collect::<Vec<_>>()
        };
        serde_json::json!({ "heads": heads, "stops": stops(false), "stops_behind": stops(true) })
    }

    /// The graph in words that a program can read: nodes with kind, options, inputs, outputs and parameters; parameters with shape
    /// and block sparsity. Two graphs with one description compute the same. Heads are left out but for what they read, and what
    /// it says of gradients is where they stop.
    pub fn describe(&self) -> serde_json::Value {
        let names = |indices: &[usize]| indices.iter().map(|&index| format!("{index}")).collect::<Vec<_>>();
        let read = |values: &[super::Input]| {
            values.iter().map(|input| self.stored(input.value.index)).collect::<Vec<_>>()
        };
        let (head_nodes, head_params) = (self.head_nodes(), self.head_params());
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .zip(head_nodes)
            .filter(|(_, is_head)| !is_head)
            .map(|(node, _)| {
                let params: Vec<_> = node.wiring.params.iter().map(|id| &self.params[id.0].name).collect();
                serde_json::json!({
                    "kind": node.node.kind(), "options": node.node.options(), "name": node.name,
                    "inputs": names(&read(&node.wiring.inputs)), "outputs": names(&node.outputs), "params": params,
                })
            })
            .collect();
        let params: Vec<_> = self
            .params
            .iter()
            .zip(head_params)
            .filter(|(_, of_heads)| !of_heads)
            .map(|(param, _)| {
                let blocks = param.blocks();
                let mut described =
                    serde_json::json!({ "name": param.name, "shape": param.shape, "blocks": blocks });
                if param.extent.iter().any(Option::is_some) {
                    described["extent"] = serde_json::json!(param.extent);
                    described["draws_padding"] = param.draws_padding.into();
                }
                described
            })
            .collect();
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|&at| serde_json::json!({ "name": self.values[at].name, "value": format!("{at}") }))
            .collect();
        let mut described = serde_json::json!({
            "inputs": inputs, "outputs": names(&self.outputs), "nodes": nodes, "params": params,
        });
        if !self.heads.is_empty() {
            described["parts"] = self.describe_parts();
        }
        described
    }
}
