//! A multi-layer perceptron: linear layers with an activation and dropout between them.

use std::fmt;

use super::builder::Builder;
use super::config::{counts, expect_size};
use super::{
    Activated, After, FanIn, LayerShape, Linear, Network, Operand, Parameter, Passage, Precision, Projection,
    Signals,
};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::{self, Activation, Dropout, Dropping, Epilogue, Step};
use crate::random::{Key, Stream};
use crate::sparse::{BLOCKS, Density, Topology};
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

    /// The layers from input to output.
    pub fn layers(&self) -> Vec<LayerShape> {
        let widths = self.widths();
        let shape = |(layer, pair): (usize, &[usize])| LayerShape {
            name: format!("layers.{layer}"),
            sides: [pair[1], pair[0]],
            sparse: self.sparsity.is_some() && layer < self.hidden.len(),
            bias: true,
            units: [Some(layer + 1), Some(layer)],
        };
        widths.windows(2).enumerate().map(shape).collect()
    }

    /// Elements of weights and biases if every block were present.
    pub fn params_dense(&self) -> usize {
        self.widths().windows(2).map(|pair| pair[1] * (pair[0] + 1)).sum()
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
        expect_size("data", self.inputs)?;
        expect_size("data", self.classes)?;
        self.hidden.iter().try_for_each(|&width| expect_size("hidden", width))?;
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
        counts(&self.layers(), self.block, self.density, self.sparsity).map(|_| ())
    }
}

/// The widths, from inputs to classes.
impl fmt::Display for MlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = [self.inputs].into_iter().chain(self.hidden.iter().copied()).chain([self.classes]);
        f.write_str(&widths.map(|width| width.to_string()).collect::<Vec<_>>().join("-"))
    }
}

/// The network, with room for a batch to pass through.
#[derive(Debug)]
pub struct Mlp {
    config: MlpConfig,
    layers: Vec<Linear>,
    buffers: Buffers,
}

/// Where a batch passes through: inputs, what each layer makes of them, and the gradients on the way back.
#[derive(Debug)]
struct Buffers {
    /// `[batch, padded inputs]`.
    input: Tensor,
    /// Before each hidden activation, `[batch, width]`, where the way back cannot do with what comes after it.
    pre: Vec<Option<Tensor>>,
    /// After each hidden activation, `[batch, width]`.
    hidden: Vec<Tensor>,
    /// `[batch, classes]`.
    logits: Tensor,
    /// The gradient of the logits, `[batch, classes]`.
    logits_grad: Tensor,
    /// The same, scaled; logits are f32 in either case.
    scaled_grad: Operand,
    /// The gradient of `pre`, layer by layer, in two places that take turns.
    grads: Vec<Tensor>,
}

impl Mlp {
    /// A network with these patterns, a layer each, and weights drawn from the seed; and room for `batch` rows.
    ///
    /// # Errors
    /// [`Error::Config`] as [`MlpConfig::validate`], [`Error::Argument`] if a pattern does not fit its layer,
    /// [`Error::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        config: MlpConfig,
        batch: usize,
        topologies: &[Option<Topology>],
        fan_in: FanIn,
        precision: Precision,
    ) -> Result<Self> {
        config.validate()?;
        let shapes = config.layers();
        let count = shapes.len();
        let mut builder = Builder::new(gpu, shapes, topologies, fan_in, config.seed, precision)?;
        let layers = (0..count).map(|_| builder.linear(2.0)).collect::<Result<_>>()?;
        let buffers = Buffers::new(gpu, &config, batch, precision)?;
        Ok(Self { config, layers, buffers })
    }

    /// A network of given layers, in order, and room for `batch` rows.
    ///
    /// # Errors
    /// [`Error::Argument`] if a layer's sides are not what the configuration says, [`Error::OutOfMemory`].
    pub fn from_layers(
        gpu: &Gpu,
        config: MlpConfig,
        batch: usize,
        mut layers: Vec<Linear>,
        precision: Precision,
    ) -> Result<Self> {
        let shapes = config.layers();
        if layers.len() != shapes.len() {
            return Err(Error::argument("Mlp", "layers", shapes.len(), layers.len()));
        }
        for (layer, shape) in layers.iter_mut().zip(shapes) {
            let found = layer.projection().sides();
            if found != shape.sides {
                let wanted = format!("{:?}", shape.sides);
                return Err(Error::argument(&shape.name, "sides", wanted, format!("{found:?}")));
            }
            precision.narrow(gpu, layer.projection_mut(), config.seed)?;
        }
        let buffers = Buffers::new(gpu, &config, batch, precision)?;
        Ok(Self { config, layers, buffers })
    }

    /// The layers from input to output.
    pub fn linears(&self) -> &[Linear] {
        &self.layers
    }

    /// What the network was made from.
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }

    fn dropping<'a>(&self, layer: usize, step: Option<&'a Step>) -> Option<Dropping<'a>> {
        let step = step.filter(|_| self.config.dropout > 0.0)?;
        let key = Key::new(self.config.seed, Stream::Dropout(layer as u32));
        Some(Dropping { dropout: Dropout { rate: self.config.dropout, key }, step })
    }
}

impl Buffers {
    fn new(gpu: &Gpu, config: &MlpConfig, batch: usize, precision: Precision) -> Result<Self> {
        let float = |label: &str, width: usize| gpu.alloc::<f32>(Class::Activations, label, &[batch, width]);
        let alloc = |label: &str, width: usize| precision.alloc(gpu, label, &[batch, width]);
        let inputs = [batch, config.padded_inputs()];
        let widest = config.hidden.iter().copied().max().unwrap_or(0);
        // One hidden layer needs one place.
        let turns = ["gradient, even", "gradient, odd"].into_iter().take(config.hidden.len());
        let turns = turns.map(|label| alloc(label, widest)).collect::<Result<Vec<_>>>()?;
        let grads = config.hidden.iter().enumerate().map(|(layer, &width)| {
            turns[layer % 2].reshape(&[batch * widest])?.rows(0, batch * width)?.reshape(&[batch, width])
        });
        let pre = config.hidden.iter().enumerate().map(|(layer, &width)| {
            let needed = !config.activation.at_layer(layer).shows_in_output();
            needed.then(|| alloc("pre-activation", width)).transpose()
        });
        Ok(Self {
            input: match precision {
                Precision::F32 => gpu.zeros::<f32>(Class::Activations, "input", &inputs)?,
                Precision::F16(_) => gpu.zeros::<half::f16>(Class::Activations, "input", &inputs)?,
            },
            pre: pre.collect::<Result<_>>()?,
            hidden: config.hidden.iter().map(|&w| alloc("activation", w)).collect::<Result<_>>()?,
            logits: float("logits", config.classes)?,
            logits_grad: float("gradient of logits", config.classes)?,
            scaled_grad: Operand::new(
                gpu,
                [Precision::F32, precision],
                "scaled gradient of logits",
                &[batch, config.classes],
            )?,
            grads: grads.collect::<Result<_>>()?,
        })
    }
}

impl Network for Mlp {
    fn layers(&self) -> Vec<&Projection> {
        self.layers.iter().map(Linear::projection).collect()
    }

    fn layer_mut(&mut self, layer: usize) -> Option<&mut Projection> {
        self.layers.get_mut(layer).map(Linear::projection_mut)
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.layers.iter().flat_map(Linear::parameters).collect()
    }

    fn input(&self) -> &Tensor {
        &self.buffers.input
    }

    fn logits(&self) -> &Tensor {
        &self.buffers.logits
    }

    fn logits_grad(&self) -> &Tensor {
        &self.buffers.logits_grad
    }

    /// Hidden activations are dropped by the draws of the step.
    fn forward(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        let buffers = &self.buffers;
        let mut x = &buffers.input;
        for (index, layer) in self.layers.iter().enumerate() {
            if index == self.layers.len() - 1 {
                return layer.forward(rec, x, &buffers.logits, None);
            }
            let then = Activated {
                activation: self.config.activation.at_layer(index),
                dropout: self.dropping(index, step),
                pre: buffers.pre[index].as_ref(),
            };
            layer.forward(rec, x, &buffers.hidden[index], Some(then))?;
            x = &buffers.hidden[index];
        }
        Ok(())
    }

    fn backward_with(
        &self,
        rec: &mut Recorder<'_>,
        step: Option<&Step>,
        after: &mut After<'_>,
    ) -> Result<()> {
        let buffers = &self.buffers;
        let last = buffers.scaled_grad.begin(rec, &buffers.logits_grad, step)?;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let dy = buffers.grads.get(index).unwrap_or(last);
            let y = buffers.hidden.get(index).unwrap_or(&buffers.logits);
            let x = index.checked_sub(1).map_or(&buffers.input, |before| &buffers.hidden[before]);
            layer.backward_parameters(rec, dy, x)?;
            if let Some(before) = index.checked_sub(1) {
                let epilogue = Epilogue::Backward {
                    pre: buffers.pre[before].as_ref().unwrap_or(&buffers.hidden[before]),
                    activation: self.config.activation.at_layer(before),
                    dropout: self.dropping(before, step),
                };
                layer.backward_input(rec, dy, &buffers.grads[before], epilogue)?;
            }
            after(rec, Passage { layer: index, signals: Signals::Rows { x, y, dy } })?;
        }
        Ok(())
    }

    fn activations(&self) -> Vec<(String, &Tensor)> {
        let hidden = self.layers.iter().zip(&self.buffers.hidden);
        let hidden = hidden.map(|(layer, y)| (layer.projection().name().to_owned(), y));
        hidden.chain([("logits".to_owned(), &self.buffers.logits)]).collect()
    }

    fn stages(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.projection().name().to_owned()).collect()
    }

    fn scan(&self, rec: &mut Recorder<'_>, status: &Tensor) -> Result<()> {
        for (index, layer) in self.layers.iter().enumerate() {
            let before = self.buffers.pre.get(index).and_then(Option::as_ref);
            let output = before.or(self.buffers.hidden.get(index)).unwrap_or(&self.buffers.logits);
            ops::finite(rec, output, status, index, 1)?;
            // Where gradients are scaled, one that is too large costs a step and is no failure.
            if !self.buffers.scaled_grad.is_copy() {
                ops::finite(rec, layer.projection().weight_grad().values(), status, index, 2)?;
            }
        }
        Ok(())
    }

    fn as_mlp(&self) -> Option<&Mlp> {
        Some(self)
    }
}
