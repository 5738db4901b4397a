//! A multi-layer perceptron: linear layers with an activation and dropout between them.

use std::fmt;

use super::config::expect_size;
use super::local::add_heads;
use super::{Linear, Local, Module};
use crate::graph::{Graph, LayerSparsity, Precision, blocks};
use crate::ops::Activation;
use crate::sparse::{BLOCKS, Density};
use crate::{Error, Result};

/// Sizes and options of a multi-layer perceptron.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MlpConfig {
    /// Features of a row. Padded to a multiple of the block.
    pub inputs: usize,
    /// Widths of the hidden layers. Where the block does not divide a width, the layer is padded to it inside.
    pub hidden: Vec<usize>,
    /// Width of the output: the number of classes, or 1 for a regression. The last layer is dense.
    pub classes: usize,
    /// Side of a block.
    pub block: usize,
    /// Share of blocks that are absent, in `[0, 1)`; `None` for dense layers.
    pub sparsity: Option<f64>,
    /// Distribution of the present blocks over the layers.
    pub density: Density,
    /// Activation behind each hidden layer.
    pub activation: Activation,
    /// Share of hidden activations that is dropped in training.
    pub dropout: f32,
    /// Seed of patterns, weights and dropout.
    pub seed: u64,
    /// Layers whose sparsity is their own.
    #[serde(default, skip_serializing_if = "LayerSparsity::is_default")]
    pub layers: LayerSparsity,
    /// How the hidden layers are cut into parts with losses of their own; `None` for backpropagation through all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Local>,
}

impl MlpConfig {
    /// The width that rows are padded to with zeros.
    pub fn padded_inputs(&self) -> usize {
        self.inputs.next_multiple_of(self.block)
    }

    /// The network as a graph for `batch` rows: an input of the [padded](MlpConfig::padded_inputs) width, linear layers with an
    /// activation and dropout between them, and logits. With [`local`](MlpConfig::local) training, heads of the parts, too.
    ///
    /// # Errors
    /// [`Error::Argument`] for sizes that overflow; [`Error::Config`] as [`Local::parts`].
    pub fn graph(&self, batch: usize, precision: Precision) -> Result<Graph> {
        let mut graph = Graph::new(self.seed, precision);
        if let Some(sparsity) = self.sparsity {
            graph.allot(self.density, sparsity);
        }
        graph.set_layer_sparsity(&self.layers);
        let mut x = graph.input("input", &[batch, self.padded_inputs()], graph.operand())?;
        let parts = self.local.map_or(Ok(Vec::new()), |local| local.parts(self.hidden.len()))?;
        let mut ends = Vec::new();
        for (number, pair) in self.widths().windows(2).enumerate() {
            let hidden = number < self.hidden.len();
            if let (Some(local), true) = (self.local, parts.iter().skip(1).any(|part| part.start == number)) {
                ends.push(x);
                x = local.cut(&mut graph, x)?;
            }
            // The last layer is small, and every class needs it: it is dense.
            let sparse = self.sparsity.filter(|_| hidden).map(|_| blocks(self.block));
            let mut linear = Linear::new(pair[0], pair[1]).sparse(sparse).variance(2.0);
            linear = match number {
                0 => linear.features(self.inputs),
                _ => linear.real_inputs(self.hidden[number - 1]),
            };
            if hidden {
                linear = linear.real_outputs(self.hidden[number]);
                linear = linear.activation(self.activation.at_layer(number)).dropout(self.dropout);
            }
            let name = format!("layers.{number}");
            x = graph.scope(&name, |graph| linear.apply(graph, x))?;
            graph.watch(x, &name)?;
        }
        graph.output(x)?;
        add_heads(&mut graph, &ends, |part, width| {
            let real = self.hidden[parts[part].end - 1];
            Linear::new(width, self.classes).variance(2.0).real_inputs(real)
        })?;
        Ok(graph)
    }

    /// Widths from the padded input to the output.
    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![self.padded_inputs()];
        widths.extend(self.hidden.iter().map(|width| width.next_multiple_of(self.block)));
        widths.push(self.classes);
        widths
    }

    /// Refuses sizes and options that make no network, by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        if !BLOCKS.contains(&self.block) {
            return bad("block", format!("{} is none of {BLOCKS:?}", self.block));
        }
        expect_size("data", self.inputs)?;
        expect_size("data", self.classes)?;
        self.hidden.iter().try_for_each(|&width| expect_size("hidden", width))?;
        if self.inputs == 0 || self.classes == 0 {
            return bad("data", format!("{} features and {} outputs", self.inputs, self.classes));
        }
        if self.hidden.contains(&0) {
            return bad("hidden", "a layer of 0 units passes nothing on".to_owned());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return bad("dropout", format!("{} is not in [0, 1)", self.dropout));
        }
        let graph = self.graph(1, Precision::F32)?;
        graph.expect_own()?;
        graph.counts(None).map(|_| ())
    }
}

/// Widths from inputs to classes: `64-512-10`.
impl fmt::Display for MlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = [self.inputs].into_iter().chain(self.hidden.iter().copied()).chain([self.classes]);
        f.write_str(&widths.map(|width| width.to_string()).collect::<Vec<_>>().join("-"))
    }
}
