//! Layers of PyTorch modules, as they are described to a graph.

use fretwork::graph::{Description, Graph, Half, Precision, Value, blocks};
use fretwork::nn::{Linear, Module as _, Moe, MoeConfig};
use fretwork::ops::gate::{Balance, Gate, Overflow, Score, Weights};
use fretwork::sparse::Topology;
use fretwork::{Error, Result};
use serde::Deserialize;

/// A layer.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Layer {
    /// `y = dropout(activation(x * W^T + bias))`, its weight dense without a block.
    Linear {
        inputs: usize,
        outputs: usize,
        block: Option<usize>,
        density: f64,
        activation: Option<String>,
        dropout: f32,
    },
    /// Mixture of experts of `hidden` units each, of which each row passes through `top_k`; experts are dense without a density.
    Moe {
        width: usize,
        experts: usize,
        hidden: usize,
        top_k: usize,
        block: usize,
        density: Option<f64>,
        activation: String,
        /// Coefficients of the losses of balance.
        aux: f32,
        importance: f32,
        z_loss: f32,
    },
}

/// Layers one behind the other, each of which reads what the one before gives.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layers {
    layers: Vec<Layer>,
    /// Whether activations and operands of products are f16.
    f16: bool,
    /// Seed of patterns and dropout.
    seed: u64,
}

impl Layer {
    /// Width of an input row.
    fn inputs(&self) -> usize {
        match self {
            Self::Linear { inputs: width, .. } | Self::Moe { width, .. } => *width,
        }
    }

    /// Adds the layer to a graph.
    fn apply(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        match self {
            Self::Linear { inputs, outputs, block, density, activation, dropout } => {
                let sparse = block.map(|block| blocks(block).density(*density));
                let mut linear = Linear::new(*inputs, *outputs).sparse(sparse).dropout(*dropout);
                if let Some(activation) = activation {
                    linear = linear.activation(activation.parse()?);
                }
                linear.apply(graph, x)
            }
            Self::Moe {
                width,
                experts,
                hidden,
                top_k,
                block,
                density,
                activation,
                aux,
                importance,
                z_loss,
            } => {
                let gate = Gate::TopK {
                    k: *top_k,
                    score: Score::Softmax,
                    weights: if *top_k == 1 { Weights::Probs } else { Weights::Renormalised },
                    tile: None,
                };
                let rows = graph.shape(x)?[0];
                let moe = Moe {
                    config: MoeConfig {
                        experts: vec![*hidden; *experts],
                        gate,
                        balance: Balance { aux: *aux, importance: *importance, load: 0.0, z: *z_loss },
                        bias_rate: 0.0,
                        capacity: 0.0,
                        overflow: Overflow::Position,
                        gated: false,
                        shared: 0,
                    },
                    activation: activation.parse()?,
                    block: *block,
                    sparse: density.map(|density| blocks(*block).density(density)),
                    width: *width,
                    sequence: rows,
                    variance: 1.0,
                };
                moe.apply(graph, x)
            }
        }
    }
}

impl Layers {
    /// Layers from their JSON.
    ///
    /// # Errors
    /// [`Error::Config`] for JSON that is no description of layers, and for none.
    pub(crate) fn of_json(json: &str) -> Result<Self> {
        let bad = |reason: String| Error::Config { option: "layers", reason };
        let layers: Self = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        if layers.layers.is_empty() {
            return Err(bad("there is none; give at least one".to_owned()));
        }
        Ok(layers)
    }

    /// Type of activations and operands.
    pub(crate) fn precision(&self) -> Precision {
        if self.f16 { Precision::F16(Half::default()) } else { Precision::F32 }
    }

    /// Width of an input row.
    pub(crate) fn width(&self) -> usize {
        self.layers[0].inputs()
    }

    /// The graph for `rows` rows. The gradient of the input is computed only where it is `differentiable`.
    ///
    /// # Errors
    /// [`Error::Argument`] where the shapes of layers don't meet, [`Error::Config`] for an activation that there is not.
    pub(crate) fn graph(&self, rows: usize, differentiable: bool) -> Result<Graph> {
        let mut graph = Graph::new(self.seed, self.precision());
        let shape = [rows, self.width()];
        let mut x = if differentiable {
            graph.differentiable_input("input", &shape)?
        } else {
            graph.input("input", &shape, fretwork::gpu::DType::F32)?
        };
        for (place, layer) in self.layers.iter().enumerate() {
            x = graph.scope(place.to_string(), |graph| layer.apply(graph, x))?;
        }
        graph.output(x)?;
        Ok(graph)
    }

    /// Parameters and operations.
    ///
    /// # Errors
    /// As [`Layers::graph`].
    pub(crate) fn description(&self) -> Result<Description> {
        let bad = |error: serde_json::Error| Error::Config { option: "layers", reason: error.to_string() };
        serde_json::from_value(self.graph(1, false)?.describe()).map_err(bad)
    }

    /// Random topologies of the matrices, in order; none for dense ones.
    ///
    /// # Errors
    /// As [`Layers::graph`].
    pub(crate) fn topologies(&self) -> Result<Vec<Option<Topology>>> {
        self.graph(1, false)?.topologies(None)
    }
}
