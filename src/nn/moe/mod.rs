//! Mixture of experts: each token passes through the experts that a gate assigns it to.

mod bytes;
mod capacity;
mod config;
mod described;
mod experts;
mod node;
mod router;
mod shared;

pub use crate::ops::gate::Overflow;
pub use config::MoeConfig;
pub(crate) use described::{Described, gate_biases};

use super::Module;
use crate::gpu::DType;
use crate::graph::{
    Blocks, Extent, Graph, Input, Output, ParamId, ParamSpec, Precision, Side, Value, Wiring,
};
use crate::ops::Activation;
use crate::ops::gate::Gate;
use crate::random::{Key, Stream};
use crate::{Error, Result};
use experts::Places;
use node::MoeNode;

/// A mixture of experts on rows `[tokens, width]`. A second input holds the tokens' ids, `[tokens]`: those that pad are
/// [ignored](crate::ops::IGNORED), and gates that hash go by them.
#[derive(Debug, Clone)]
pub struct Moe {
    /// Experts, gate, capacity and balance.
    pub config: MoeConfig,
    /// Activation of hidden units.
    pub activation: Activation,
    /// Side of a block of the routing.
    pub block: usize,
    /// Block sparsity of the experts and the shared expert; dense for `None`.
    pub sparse: Option<Blocks>,
    /// Width of a row.
    pub width: usize,
    /// Tokens of a sequence; sequences follow each other.
    pub sequence: usize,
    /// Variance of the output of first weights, where inputs have variance 1.
    pub variance: f64,
}

impl Moe {
    /// Hidden units of the shared expert with their padding.
    fn padded_shared(&self) -> usize {
        self.config.shared.next_multiple_of(self.block)
    }

    fn params(&self, graph: &mut Graph, x: Value) -> Result<(Vec<ParamId>, Places)> {
        let (config, width) = (&self.config, self.width);
        let precision = graph.precision();
        let count = config.experts.len();
        let padded: Vec<usize> = config.padded(self.block).collect();
        let hidden: usize = padded.iter().sum();
        let units = Extent::of_parts(config.experts.iter().copied(), padded);
        let mut params = Vec::new();
        let mut declare = |spec: ParamSpec| -> Result<usize> {
            params.push(graph.param(spec)?);
            Ok(params.len() - 1)
        };
        let noisy = matches!(config.gate, Gate::NoisyTopK { .. });
        let router = |name: &str, variance| {
            ParamSpec::matrix(&format!("{name}.weight"), [count, width], variance)
                .units(Side::Always, Side::Of(x))
                .precision(precision)
        };
        // Noise breaks the tie of equal logits; without it the router itself must.
        let hashed = matches!(config.gate, Gate::Hash { .. });
        let logits =
            (!hashed).then(|| declare(router("router", if noisy { 0.0 } else { 0.1 }))).transpose()?;
        let noise = noisy.then(|| declare(router("noise", 0.0))).transpose()?;
        // Products of sparse weights with the sparse routing are in f32 in any case.
        let read = if self.sparse.is_some() { Precision::F32 } else { precision };
        let layer = |name: &str, variance| {
            ParamSpec::matrix(&format!("experts.{name}.weight"), [hidden, width], variance)
                .sparse(self.sparse)
                .units(Side::Hidden(0), Side::Of(x))
                .precision(read)
                .extent(units.clone(), None)
        };
        let gate = config.gated.then(|| declare(layer("gate", 2.0))).transpose()?;
        let up = declare(layer("up", if config.gated { 1.0 } else { 2.0 }))?;
        // The inputs of the lower layer are the hidden units of one expert, and not the columns of this matrix.
        let mean = config.experts.iter().sum::<usize>() as f64 / count as f64;
        let down = layer("down", self.variance * width as f64 / mean)
            .units(Side::Hidden(0), Side::Always)
            .stored_by_input(mean.round() as usize);
        let down = declare(down)?;
        let shared = match config.shared {
            0 => None,
            _ => Some(shared::declare(&mut declare, self, x, precision)?),
        };
        Ok((params, Places { logits, noise, gate, up, down, shared }))
    }
}

impl Module for Moe {
    fn input_width(&self) -> Option<usize> {
        Some(self.width)
    }

    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let op = graph.name("moe");
        let &[x, ref ids @ ..] = inputs else {
            return Err(Error::argument(op, "inputs", "rows, and ids of tokens", "none"));
        };
        self.config.validate()?;
        let [tokens, width] = graph.matrix(&op, x)?;
        if width != self.width || self.sequence == 0 || !tokens.is_multiple_of(self.sequence) {
            let wanted = format!("rows of width {} in sequences of {}", self.width, self.sequence);
            return Err(Error::argument(op, "input", wanted, format!("[{tokens}, {width}]")));
        }
        if ids.len() > 1 || ids.is_empty() && matches!(self.config.gate, Gate::Hash { .. }) {
            let wanted = "rows, and ids of tokens, which gates that hash go by";
            return Err(Error::argument(op, "inputs", wanted, format!("{} inputs", inputs.len())));
        }
        let mixtures = graph.kinds().filter(|&kind| kind == node::KIND).count();
        let key = Key::new(graph.seed(), Stream::Gate(mixtures as u32));
        let (params, places) = self.params(graph, x)?;
        let operand = graph.operand();
        let shown = self.sparse.is_some() && self.config.shared > 0;
        let mut wiring = Wiring {
            inputs: vec![Input::new(x).of(operand).kept()],
            outputs: vec![Output::new(graph.name("output"), &[tokens, width]).shown(shown).grad_of(operand)],
            params,
            buffers: Vec::new(),
        };
        for &ids in ids {
            if graph.dtype(ids)? != DType::U32 || graph.shape(ids)? != [tokens] {
                let found = format!("{:?}{:?}", graph.dtype(ids)?, graph.shape(ids)?);
                return Err(Error::argument(op, "ids", format!("U32[{tokens}]"), found));
            }
            wiring.inputs.push(Input::new(ids).kept().constant());
        }
        let moe = MoeNode::new(self.clone(), graph.name(""), key, tokens, graph.precision(), places);
        Ok(vec![graph.add_one(moe, wiring)?])
    }
}
