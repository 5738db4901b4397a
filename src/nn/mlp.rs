//! A multi-layer perceptron: linear layers with an activation and dropout between them.

use super::{FanIn, Linear, Parameter};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::{self, Activation, Dropout, Dropping, Epilogue, Step};
use crate::random::{Key, Stream};
use crate::sparse::{self, BLOCKS, Density, Grid, Topology};
use crate::{Error, Result};

/// What network to make.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MlpConfig {
    /// Features of a row. Padded to a multiple of the block.
    pub inputs: usize,
    /// Widths of the hidden layers, each a multiple of the block.
    pub hidden: Vec<usize>,
    /// Widths of the output. The last layer is always dense: it is small, and every class needs it.
    pub classes: usize,
    /// The side of a block.
    pub block: usize,
    /// The share of blocks that are absent, in `[0, 1)`; `None` for layers that are stored densely.
    pub sparsity: Option<f64>,
    /// How the present blocks are shared out among the layers.
    pub density: Density,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// The share of hidden activations that is dropped in training.
    pub dropout: f32,
    /// Where patterns, weights and dropout come from.
    pub seed: u64,
}

impl MlpConfig {
    /// The width that rows are padded to with zeros.
    pub fn padded_inputs(&self) -> usize {
        self.inputs.next_multiple_of(self.block)
    }

    /// The widths from input to output.
    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![self.padded_inputs()];
        widths.extend(&self.hidden);
        widths.push(self.classes);
        widths
    }

    /// Refuses what makes no sense, each by name.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let bad = |option, reason| Err(Error::Config { option, reason });
        if !BLOCKS.contains(&self.block) {
            return bad("block", format!("{} is none of {BLOCKS:?}", self.block));
        }
        if self.inputs == 0 || self.classes < 2 {
            return bad("data", format!("{} features and {} classes", self.inputs, self.classes));
        }
        if let Some(width) = self.hidden.iter().find(|&width| width % self.block != 0 || *width == 0) {
            let near = width.next_multiple_of(self.block).max(self.block);
            return bad(
                "hidden",
                format!("{width} is not a multiple of the block, {}; try {near}", self.block),
            );
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return bad("dropout", format!("{} is not in [0, 1)", self.dropout));
        }
        self.sparsity.map_or(Ok(()), |sparsity| self.counts(sparsity).map(|_| ()))
    }

    /// How many blocks each layer has at a sparsity; 0 for layers that are dense.
    ///
    /// # Errors
    /// [`Error::Config`] if a layer is left with no block.
    pub fn counts(&self, sparsity: f64) -> Result<Vec<usize>> {
        let mut counts = self.density.allocate(&self.grids(), sparsity)?;
        counts.push(0);
        Ok(counts)
    }

    /// The sides of the sparse layers in blocks.
    fn grids(&self) -> Vec<Grid> {
        let widths = self.widths();
        let pairs = widths.windows(2).take(self.hidden.len());
        pairs.map(|pair| [pair[1], pair[0]].map(|side| side / self.block)).collect()
    }

    /// The initial pattern of each layer, `None` where it is dense.
    fn topologies(&self, sparsity: Option<f64>) -> Result<Vec<Option<Topology>>> {
        let mut topologies = vec![None; self.hidden.len() + 1];
        let Some(sparsity) = sparsity else { return Ok(topologies) };
        for (layer, (grid, nnz)) in self.grids().into_iter().zip(self.counts(sparsity)?).enumerate() {
            let key = Key::new(self.seed, Stream::Pattern(layer as u32));
            let [rows, cols] = grid.map(|blocks| blocks * self.block);
            topologies[layer] = Some(sparse::random(rows, cols, self.block, nnz, key)?);
        }
        Ok(topologies)
    }
}

/// The network.
#[derive(Debug)]
pub struct Mlp {
    config: MlpConfig,
    layers: Vec<Linear>,
}

/// Where a batch passes through: inputs, what each layer makes of them, and the gradients on the way back.
#[derive(Debug)]
pub struct Buffers {
    /// `[batch, padded inputs]`.
    pub input: Tensor,
    /// Before each hidden activation, `[batch, width]`.
    pre: Vec<Tensor>,
    /// After each hidden activation, `[batch, width]`.
    hidden: Vec<Tensor>,
    /// `[batch, classes]`.
    pub logits: Tensor,
    /// The gradient of the logits, `[batch, classes]`; the loss writes it.
    pub logits_grad: Tensor,
    /// The gradient of `pre`, layer by layer, in two places that take turns.
    grads: Vec<Tensor>,
}

/// What passed through a layer in a step.
#[derive(Debug, Clone, Copy)]
pub struct Passage<'a> {
    /// The layer's number, from the input on.
    pub layer: usize,
    /// Its input, `[batch, in]`.
    pub x: &'a Tensor,
    /// Its output after the activation, `[batch, out]`.
    pub y: &'a Tensor,
    /// The gradient of its output before the activation, `[batch, out]`.
    pub dy: &'a Tensor,
}

impl Mlp {
    /// A network with patterns and weights drawn from the seed.
    ///
    /// # Errors
    /// [`Error::Config`] as [`MlpConfig::validate`], [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, config: MlpConfig) -> Result<Self> {
        let sparsity = config.sparsity;
        Self::storing(gpu, config, sparsity, FanIn::Present)
    }

    /// The same, of which more or fewer blocks are stored at first than the configuration says (all of them, for a method
    /// that prunes), with weights drawn for another fan-in.
    ///
    /// # Errors
    /// As [`Mlp::new`].
    pub fn storing(gpu: &Gpu, config: MlpConfig, sparsity: Option<f64>, fan_in: FanIn) -> Result<Self> {
        config.validate()?;
        let widths = config.widths();
        let layers = config
            .topologies(sparsity)?
            .into_iter()
            .enumerate()
            .map(|(layer, topology)| {
                let key = Key::new(config.seed, Stream::Weights(layer as u32));
                let (inputs, outputs) = (widths[layer], widths[layer + 1]);
                Linear::new(gpu, &layer_name(layer), inputs, outputs, topology.as_ref(), fan_in, key)
            })
            .collect::<Result<_>>()?;
        Ok(Self { config, layers })
    }

    /// A network of given layers, in order: what a checkpoint is read into.
    ///
    /// # Errors
    /// [`Error::Argument`] if a layer's sides are not what the configuration says.
    pub fn from_layers(config: MlpConfig, layers: Vec<Linear>) -> Result<Self> {
        let widths = config.widths();
        if layers.len() != widths.len() - 1 {
            return Err(Error::argument("Mlp", "layers", widths.len() - 1, layers.len()));
        }
        for (layer, pair) in layers.iter().zip(widths.windows(2)) {
            if layer.sides() != [pair[1], pair[0]] {
                let wanted = format!("{} x {}", pair[1], pair[0]);
                return Err(Error::argument(layer.name(), "sides", wanted, format!("{:?}", layer.sides())));
            }
        }
        Ok(Self { config, layers })
    }

    /// The sides of each layer's weight, `[out, in]`.
    pub fn shapes(config: &MlpConfig) -> Vec<[usize; 2]> {
        config.widths().windows(2).map(|pair| [pair[1], pair[0]]).collect()
    }

    /// What the network was made from.
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }

    /// The layers from input to output.
    pub fn layers(&self) -> &[Linear] {
        &self.layers
    }

    /// One of them, to be changed.
    pub fn layer_mut(&mut self, layer: usize) -> Option<&mut Linear> {
        self.layers.get_mut(layer)
    }

    /// Every weight and bias.
    pub fn parameters(&self) -> Vec<Parameter<'_>> {
        self.layers.iter().flat_map(Linear::parameters).collect()
    }

    /// Stored elements of weights and biases.
    pub fn params_present(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.values.len()).sum()
    }

    /// What they would be if every block were present.
    pub fn params_dense(&self) -> usize {
        self.layers.iter().map(|layer| layer.sides()[0] * (layer.sides()[1] + 1)).sum()
    }

    /// Buffers for batches of `batch` rows.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn buffers(&self, gpu: &Gpu, batch: usize) -> Result<Buffers> {
        let alloc = |label: &str, width: usize| gpu.alloc::<f32>(Class::Activations, label, &[batch, width]);
        let widest = self.config.hidden.iter().copied().max().unwrap_or(0);
        // One hidden layer needs one place.
        let turns = ["gradient, even", "gradient, odd"].into_iter().take(self.config.hidden.len());
        let turns = turns.map(|label| alloc(label, widest)).collect::<Result<Vec<_>>>()?;
        let grads = self.config.hidden.iter().enumerate().map(|(layer, &width)| {
            turns[layer % 2].reshape(&[batch * widest])?.rows(0, batch * width)?.reshape(&[batch, width])
        });
        Ok(Buffers {
            input: gpu.zeros::<f32>(Class::Activations, "input", &[batch, self.config.padded_inputs()])?,
            pre: self.config.hidden.iter().map(|&w| alloc("pre-activation", w)).collect::<Result<_>>()?,
            hidden: self.config.hidden.iter().map(|&w| alloc("activation", w)).collect::<Result<_>>()?,
            logits: alloc("logits", self.config.classes)?,
            logits_grad: alloc("gradient of logits", self.config.classes)?,
            grads: grads.collect::<Result<_>>()?,
        })
    }

    /// Records the way from the input to the logits. With a `step`, as in training: hidden activations are dropped by the
    /// draws of that step.
    ///
    /// # Errors
    /// As the operations.
    pub fn forward(&self, rec: &mut Recorder<'_>, buffers: &Buffers, step: Option<&Step>) -> Result<()> {
        let mut x = &buffers.input;
        for (index, layer) in self.layers.iter().enumerate() {
            if index == self.layers.len() - 1 {
                return layer.forward(rec, x, &buffers.logits, Epilogue::Bias(layer.bias()));
            }
            let epilogue = Epilogue::Forward {
                bias: layer.bias(),
                activation: self.config.activation.at_layer(index),
                dropout: self.dropping(index, step),
                pre: &buffers.pre[index],
            };
            layer.forward(rec, x, &buffers.hidden[index], epilogue)?;
            x = &buffers.hidden[index];
        }
        Ok(())
    }

    /// Records the way back from the gradient of the logits to the gradient of every parameter. With a `step`, through the
    /// dropout of the forward pass.
    ///
    /// # Errors
    /// As the operations.
    pub fn backward(&self, rec: &mut Recorder<'_>, buffers: &Buffers, step: Option<&Step>) -> Result<()> {
        self.backward_with(rec, buffers, step, &mut |_, _| Ok(()))
    }

    /// The same, where `after` records something after each layer's backward pass: what passed through the layer is still
    /// there, and nobody needs its weight any more.
    ///
    /// # Errors
    /// As the operations, and as `after`.
    pub fn backward_with(
        &self,
        rec: &mut Recorder<'_>,
        buffers: &Buffers,
        step: Option<&Step>,
        after: &mut dyn FnMut(&mut Recorder<'_>, Passage<'_>) -> Result<()>,
    ) -> Result<()> {
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let dy = buffers.grads.get(index).unwrap_or(&buffers.logits_grad);
            let y = buffers.hidden.get(index).unwrap_or(&buffers.logits);
            let x = index.checked_sub(1).map_or(&buffers.input, |before| &buffers.hidden[before]);
            layer.backward_parameters(rec, dy, x)?;
            if let Some(before) = index.checked_sub(1) {
                let epilogue = Epilogue::Backward {
                    pre: &buffers.pre[before],
                    activation: self.config.activation.at_layer(before),
                    dropout: self.dropping(before, step),
                };
                layer.backward_input(rec, dy, &buffers.grads[before], epilogue)?;
            }
            after(rec, Passage { layer: index, x, y, dy })?;
        }
        Ok(())
    }

    /// Records scans for NaN and infinity, a word of `status` per layer: bit 0 for a layer's output, bit 1 for the
    /// gradient of its weight.
    ///
    /// # Errors
    /// [`Error::Argument`] if `status` has fewer words than there are layers.
    pub fn scan(&self, rec: &mut Recorder<'_>, buffers: &Buffers, status: &Tensor) -> Result<()> {
        for (index, layer) in self.layers.iter().enumerate() {
            let output = buffers.pre.get(index).unwrap_or(&buffers.logits);
            ops::finite(rec, output, status, index, 1)?;
            ops::finite(rec, layer.weight_grad().values(), status, index, 2)?;
        }
        Ok(())
    }

    fn dropping<'a>(&self, layer: usize, step: Option<&'a Step>) -> Option<Dropping<'a>> {
        let step = step.filter(|_| self.config.dropout > 0.0)?;
        let key = Key::new(self.config.seed, Stream::Dropout(layer as u32));
        Some(Dropping { dropout: Dropout { rate: self.config.dropout, key }, step })
    }
}

/// The name that PyTorch would give.
pub(crate) fn layer_name(layer: usize) -> String {
    format!("layers.{layer}")
}
