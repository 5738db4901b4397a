//! Bytes that a network and a run take, summed before anything is allocated.

use super::Settings;
use crate::data::Task;
use crate::gpu::{Class, Gpu};
use crate::graph::{BlockSize, Recompute, Sum};
use crate::methods::Method;
use crate::nn::{ModelConfig, Precision};
use crate::optim::Optimizer;
use crate::{Error, Result, host};

/// Bytes by class, and the largest buffer: an estimate, from settings alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    name: String,
    sum: Sum,
}

impl Footprint {
    /// Of a network with gradients and memory for `batch` rows, with topologies of this sparsity.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::Argument`] for sizes that make no network.
    pub fn of_network(
        model: &ModelConfig,
        stored: Option<f64>,
        batch: usize,
        precision: Precision,
        recompute: Option<Recompute>,
    ) -> Result<Self> {
        let mut graph = model.graph(batch, precision)?;
        graph.recompute(recompute);
        Ok(Self { name: model.to_string(), sum: graph.bytes(stored)? })
    }

    /// Of a run: its network, the optimizer's state, and the workspaces and buffers of its method. Where a method changes the number
    /// of blocks, the most that it keeps between steps; a change itself takes the old and the new blocks of a layer.
    ///
    /// # Errors
    /// As [`Footprint::of_network`].
    pub fn of_run(settings: &Settings, method: &dyn Method, optimizer: &dyn Optimizer) -> Result<Self> {
        let model = &settings.model;
        let stored = model.sparsity().map(|sparsity| method.stored_sparsity(sparsity));
        let (rows, precision) = (settings.pass_rows(), settings.precision);
        let mut footprint = Self::of_network(model, stored, rows, precision, settings.recompute)?;
        let sum = &mut footprint.sum;
        let graph = model.smallest_graph(settings.precision)?;
        let sizes = graph.sizes(stored)?;
        let accumulated = settings.pass_rows() < settings.batch;
        let add_state = |sum: &mut Sum, elements| {
            optimizer.state_names().iter().for_each(|name| sum.add(Class::Optimizer, name, elements, 4));
            if accumulated {
                sum.add(Class::Gradients, "accumulated gradients", elements, 4);
            }
        };
        sizes.iter().for_each(|size| add_state(sum, size.elements));
        let scratch = optimizer.scratch(&sizes.iter().map(|size| size.elements).collect::<Vec<_>>());
        if scratch > 0 {
            // Steps with and without a report.
            (0..2).for_each(|_| sum.add(Class::Optimizer, "partial sums of the optimizer", scratch, 4));
        }
        let absent = |blocks: &BlockSize| (blocks.places - blocks.nnz as u128) * blocks.area;
        let largest = sizes.iter().filter_map(|size| size.blocks).max_by_key(absent);
        if let Some(layer) = largest.filter(|_| method.grows_whole_layers()) {
            let label = "absent blocks of a layer";
            sum.add(Class::Values, label, absent(&layer), 4);
            sum.add(Class::Gradients, label, absent(&layer), 4);
            sum.add(Class::Topology, label, layer.most_words - layer.words, 4);
            add_state(sum, absent(&layer));
        }
        for (class, label, elements, size) in method.buffers(&sizes) {
            sum.add(class, label, elements, size);
        }
        // Labels, and the loss of each row with its hit, which a regression has not.
        let reported = if settings.task() == Task::Regression { 1 } else { 2 };
        let rows = settings.pass_rows() as u128 * model.context().max(1) as u128;
        sum.add(Class::Activations, "labels", rows, 4);
        let networks = match model {
            ModelConfig::Mlps(config) => config.networks.len() as u128,
            _ => 1,
        };
        sum.add(Class::Scratch, "report", reported * rows * networks, 4);
        (1..graph.parts()).for_each(|_| sum.add(Class::Scratch, "totals of a head", 2, 4));
        if let ModelConfig::Mlps(config) = model
            && config.together.codistillation().is_some_and(|options| options.weight > 0.0)
        {
            sum.add_all(model.graph(settings.pass_rows(), settings.precision)?.bytes_of_copy(stored)?);
        }
        if method.is_static() {
            return Ok(footprint);
        }
        for BlockSize { places, nnz, .. } in sizes.into_iter().filter_map(|size| size.blocks) {
            let smoothed = u32::from(method.observe_every().is_some());
            (0..=smoothed).for_each(|_| sum.add(Class::Scratch, "scores", places, 4));
            (0..3).for_each(|_| sum.add(Class::Scratch, "sets of blocks", places.div_ceil(32), 4));
            sum.add(Class::Scratch, "births", nnz as u128, 4);
        }
        Ok(footprint)
    }

    /// Refuses a run that the device has no room for, as [`Footprint::expect_room`]; of networks that are trained together it says how
    /// many there is room for.
    ///
    /// # Errors
    /// [`Error::Config`] for too many networks, and as [`Footprint::of_run`] and [`Footprint::expect_room`].
    pub fn expect_run(
        gpu: &Gpu,
        settings: &Settings,
        method: &dyn Method,
        optimizer: &dyn Optimizer,
    ) -> Result<()> {
        let refused = match Self::of_run(settings, method, optimizer)?.expect_room(gpu) {
            Err(refused @ Error::Limit { .. }) => refused,
            result => return result,
        };
        let ModelConfig::Mlps(config) = &settings.model else { return Err(refused) };
        let fits = |networks: usize| {
            let model = ModelConfig::Mlps(config.first(networks));
            let fewer = Settings { model, ..settings.clone() };
            Self::of_run(&fewer, method, optimizer).is_ok_and(|sum| sum.expect_room(gpu).is_ok())
        };
        let (mut fit, mut most) = (0, config.networks.len());
        while fit + 1 < most {
            let middle = usize::midpoint(fit, most);
            if fits(middle) { fit = middle } else { most = middle }
        }
        let networks = config.networks.len();
        let reason = format!("there is room for the first {fit} of {networks} networks: {refused}");
        Err(Error::Config { option: "networks", reason })
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
