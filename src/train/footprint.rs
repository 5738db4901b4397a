//! Bytes that a network and a run take, summed before anything is allocated.

mod lm;
mod sum;

use self::sum::Sum;
use super::{OptimizerKind, Settings};
use crate::gpu::{Class, Gpu};
use crate::methods::Method;
use crate::nn::{LayerShape, MlpConfig, ModelConfig, Precision};
use crate::sparse::Topology;
use crate::{Error, Result, host};

/// Bytes by class, and the largest buffer: an estimate, from settings alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    name: String,
    sum: Sum,
}

impl Footprint {
    /// Of a network with gradients and room for `batch` rows, with patterns of this sparsity.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::Argument`] for sizes that make no network.
    pub fn of_network(
        model: &ModelConfig,
        stored: Option<f64>,
        batch: usize,
        precision: Precision,
    ) -> Result<Self> {
        let mut sum = Sum::default();
        for (elements, values) in parameters(&mut sum, model, stored, precision)? {
            sum.add(Class::Values, values, elements, 4);
            sum.add(Class::Gradients, values, elements, 4);
        }
        match model {
            ModelConfig::Mlp(config) => mlp(&mut sum, config, batch, precision),
            ModelConfig::Lm(config) => lm::passes(&mut sum, config, batch, precision)?,
        }
        Ok(Self { name: model.to_string(), sum })
    }

    /// Of a run: its network, the optimizer's state, and what its method needs for each sparse layer.
    ///
    /// # Errors
    /// As [`Footprint::of_network`].
    pub fn of_run(settings: &Settings, method: &dyn Method) -> Result<Self> {
        let model = &settings.model;
        let stored = model.sparsity().map(|sparsity| method.stored_sparsity(sparsity));
        let mut footprint = Self::of_network(model, stored, settings.batch, settings.precision)?;
        let sum = &mut footprint.sum;
        let parts = match settings.optimizer {
            OptimizerKind::Sgd => 1,
            OptimizerKind::AdamW => 2,
        };
        for (elements, name) in parameters(&mut Sum::default(), model, stored, Precision::F32)? {
            (0..parts).for_each(|_| sum.add(Class::Optimizer, name, elements, 4));
        }
        // Labels, and what the loss makes of each row.
        let rows = settings.batch as u128 * model.context().max(1) as u128;
        sum.add(Class::Activations, "labels", rows, 4);
        sum.add(Class::Scratch, "report", 2 * rows, 4);
        if method.is_static() {
            return Ok(footprint);
        }
        for (layer, nnz) in model.layers().iter().zip(model.counts(stored)?) {
            let places = layer.sides.iter().map(|side| (side / model.block()) as u128).product::<u128>();
            if layer.sparse {
                let smoothed = u32::from(method.observe_every().is_some());
                (0..=smoothed).for_each(|_| sum.add(Class::Scratch, "scores", places, 4));
                (0..3).for_each(|_| sum.add(Class::Scratch, "sets of blocks", places.div_ceil(32), 4));
                sum.add(Class::Scratch, "births", nnz as u128, 4);
            }
        }
        Ok(footprint)
    }

    /// Refuses what the device has no room for: a buffer larger than any may be, or, where the device is the host's own
    /// processor, more than the host's available memory. How much memory another device has is not known.
    ///
    /// # Errors
    /// [`Error::Limit`] with what is needed and what is allowed.
    pub fn expect_room(&self, gpu: &Gpu) -> Result<()> {
        let refuse = |label: String, what, value: u128, limit| {
            Err(Error::Limit { label, what, value: u64::try_from(value).unwrap_or(u64::MAX), limit })
        };
        let (bytes, label) = self.sum.largest();
        let limit = gpu.limits().max_buffer_size;
        if bytes > u128::from(limit) {
            let label = format!("{label} of {}", self.name);
            return refuse(label, "its size in bytes", bytes, limit);
        }
        match host::available_memory() {
            Some(limit) if self.total() > u128::from(limit) && gpu.is_software() => {
                refuse(self.name.clone(), "the sum of its buffers in bytes", self.total(), limit)
            }
            _ => Ok(()),
        }
    }

    /// Bytes of a class.
    pub fn of(&self, class: Class) -> u128 {
        self.sum.of(class)
    }

    /// Bytes of all classes.
    pub fn total(&self) -> u128 {
        self.sum.total()
    }
}

/// Elements of everything that is trained, and what it is. Besides, the packed topologies and f16 copies of weights are added
/// to the sum.
fn parameters(
    sum: &mut Sum,
    model: &ModelConfig,
    stored: Option<f64>,
    precision: Precision,
) -> Result<Vec<(u128, &'static str)>> {
    let block = model.block() as u128;
    let mut parameters = Vec::new();
    for (layer, nnz) in model.layers().iter().zip(model.counts(stored)?) {
        let [rows, cols] = layer.sides;
        let elements = if layer.sparse { nnz as u128 * block * block } else { rows as u128 * cols as u128 };
        parameters.push((elements, "a weight"));
        if layer.bias {
            parameters.push((rows as u128, "a bias"));
        }
        if layer.sparse {
            let words = Topology::packed_words([rows, cols].map(|side| side / model.block()), nnz);
            sum.add(Class::Topology, "a topology", words as u128, 4);
        }
        if precision.half().is_some() && !is_f32(layer) {
            sum.add(Class::Values, "an f16 copy of a weight", elements, 2);
        }
    }
    if let ModelConfig::Lm(config) = model {
        parameters.extend(lm::tables(config));
    }
    Ok(parameters)
}

/// Products with block-sparse weights of experts are f32 in any case.
fn is_f32(layer: &LayerShape) -> bool {
    layer.sparse && layer.name.contains(".feed.experts.")
}

/// Where a batch passes through a multi-layer perceptron.
fn mlp(sum: &mut Sum, config: &MlpConfig, batch: usize, precision: Precision) {
    let (rows, size) = (batch as u128, precision.dtype().size());
    let mut add = |label, width: usize, size| sum.add(Class::Activations, label, rows * width as u128, size);
    add("input", config.padded_inputs(), size);
    for (layer, &width) in config.hidden.iter().enumerate() {
        add("an activation", width, size);
        if !config.activation.at_layer(layer).shows_in_output() {
            add("a pre-activation", width, size);
        }
    }
    let widest = config.hidden.iter().copied().max().unwrap_or(0);
    (0..config.hidden.len().min(2)).for_each(|_| add("a gradient", widest, size));
    (0..2).for_each(|_| add("logits", config.classes, 4));
    if precision.half().is_some() {
        add("scaled gradient of logits", config.classes, size);
    }
}
