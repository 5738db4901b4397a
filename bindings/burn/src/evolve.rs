//! Topologies that change while Burn trains: SET and RigL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use burn_core as burn;
use burn_core::backend::Dispatch;
use burn_core::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn_core::tensor::{Int, Tensor};
use burn_cubecl::tensor::CubeTensor;
use fretwork::gpu::Class;
use fretwork::methods::{Clock, LayerContext, Method, Workspace};
use fretwork::nn::Signals;
use fretwork::ops::{Step, StepValues};
use fretwork::sparse::{BlockMatrix, Pattern, Topology};

use crate::blocks::{Blocks, Known};
use crate::buffers::Lease;
use crate::layout::Layout;
use crate::ops::BlockOps as _;
use crate::{Error, Result};

/// Changes the topologies of a model's sparse layers by a method's schedule: `model = evolution.step(model)?` after each step of the
/// optimizer.
///
/// Growth is scored by the batch of the last backward pass. New blocks start from 0. Burn's optimizers give no access to their
/// state; [`Evolution::exchanged`] tells which blocks are new, and [`zero_state`](crate::zero_state) zeroes their state.
#[derive(Debug)]
pub struct Evolution {
    method: Arc<Mutex<Box<dyn Method>>>,
    clock: Clock,
    seed: u64,
    layers: Vec<Layer>,
    exchanged: Vec<Exchanged>,
}

/// A sparse layer, by its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) values: ParamId,
    pub(crate) blocks: ParamId,
    pub(crate) known: Arc<Known>,
}

/// Blocks of a layer that the last update exchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchanged {
    /// Parameter of the layer's values.
    pub values: ParamId,
    /// Slots with other blocks than before, ascending.
    pub slots: Vec<usize>,
}

impl Evolution {
    /// Evolves the sparse layers of a model by one of the library's methods that [update](Method::update) topologies within a run
    /// of `steps` steps, `per_epoch` of them in an epoch: `methods::Rigl`, `methods::Set`.
    ///
    /// # Errors
    /// [`Error::Fretwork`] for a schedule that makes no sense.
    pub fn new(
        method: impl Method + 'static,
        model: &impl Module,
        steps: u64,
        per_epoch: u64,
    ) -> Result<Self> {
        if let Some(updates) = method.updates() {
            updates.validate()?;
        }
        let clock = Clock { step: 0, per_epoch: per_epoch.max(1), steps, learning_rate: 0.0 };
        let method: Arc<Mutex<Box<dyn Method>>> = Arc::new(Mutex::new(Box::new(method)));
        let layers = Layer::all(model);
        let evolution = Self { method, clock, seed: 0, layers, exchanged: Vec::new() };
        evolution.ask();
        Ok(evolution)
    }

    /// Sets the seed of random growth.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Counts a step, and updates the topologies where one is due. Waits for the device then.
    ///
    /// # Errors
    /// [`Error::Fretwork`] where an operation fails, [`Error::NoSignals`] where a layer had no backward pass since the last
    /// step, [`Error::OtherModel`] for a model that is not the one of [`Evolution::new`] after training.
    pub fn step<M: Module>(&mut self, model: M) -> Result<M> {
        self.exchanged.clear();
        let share = self.share();
        self.clock.step += 1;
        let model = match share {
            Some(share) => self.update(model, share)?,
            None => model,
        };
        self.ask();
        Ok(model)
    }

    /// Blocks that the last [`step`](Evolution::step) exchanged; none where no update was due.
    pub fn exchanged(&self) -> &[Exchanged] {
        &self.exchanged
    }

    /// Share of the blocks to exchange in this step.
    fn share(&self) -> Option<f64> {
        let method = self.method.lock().expect("no holder of this lock panics");
        method.updates().and_then(|updates| updates.at(self.clock))
    }

    /// Asks the layers for their operands where the coming step has an update.
    fn ask(&self) {
        if self.share().is_some() {
            self.layers.iter().for_each(|layer| layer.known.watch.ask());
        }
    }

    fn update<M: Module>(&mut self, model: M, share: f64) -> Result<M> {
        let jobs: HashMap<ParamId, Arc<Job>> = self
            .layers
            .iter()
            .enumerate()
            .map(|(number, layer)| {
                let job = Job {
                    method: Arc::clone(&self.method),
                    layer: number as u32,
                    seed: self.seed,
                    step: self.clock.step as u32,
                    share,
                    done: Mutex::default(),
                };
                (layer.values, Arc::new(job))
            })
            .collect();
        let mut exchange = Exchange { layers: &mut self.layers, jobs, exchanged: Vec::new(), failed: None };
        let model = model.map(&mut exchange);
        let Exchange { exchanged, failed, .. } = exchange;
        self.exchanged = exchanged;
        match failed {
            Some(error) => Err(error),
            None if self.exchanged.len() < self.layers.len() => Err(Error::OtherModel),
            None => Ok(model),
        }
    }
}

impl Layer {
    /// The sparse layers of a model, in the order of its fields.
    pub(crate) fn all(model: &impl Module) -> Vec<Self> {
        #[derive(Default)]
        struct Find {
            path: Vec<String>,
            /// The last values seen, and the module that they are in.
            values: Option<(Vec<String>, ParamId)>,
            layers: Vec<Layer>,
        }
        impl ModuleVisitor for Find {
            fn enter_module(&mut self, name: &str, _container: &str) {
                self.path.push(name.to_owned());
            }

            fn exit_module(&mut self, _name: &str, _container: &str) {
                self.path.pop();
            }

            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if self.path.last().is_some_and(|name| name == "values") {
                    self.values = Some((self.path[..self.path.len() - 1].to_vec(), param.id));
                }
            }

            fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
                let Some(known) = Blocks::known(param.id) else { return };
                let parent = &self.path[..self.path.len().saturating_sub(1)];
                if let Some((_, values)) = self.values.take_if(|(path, _)| path == parent) {
                    self.layers.push(Layer { values, blocks: param.id, known });
                }
            }
        }
        let mut find = Find::default();
        model.visit(&mut find);
        find.layers
    }
}

/// Puts the results of jobs into a model: first a layer's values, then its blocks.
struct Exchange<'a> {
    layers: &'a mut [Layer],
    jobs: HashMap<ParamId, Arc<Job>>,
    exchanged: Vec<Exchanged>,
    failed: Option<Error>,
}

impl ModuleMapper for Exchange<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (Some(job), None) = (self.jobs.get(&param.id), &self.failed) else { return param };
        let Some(layer) = self.layers.iter_mut().find(|layer| layer.values == param.id) else { return param };
        let grows = param.is_require_grad();
        let updated = job.on_module(param.val().into_dispatch(), layer);
        match updated {
            Ok((values, slots)) => {
                self.exchanged.push(Exchanged { values: param.id, slots });
                param.map(|_| Tensor::from_dispatch(values).set_require_grad(grows))
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let Some(layer) = self.layers.iter_mut().find(|layer| layer.blocks == param.id) else { return param };
        if self.failed.is_some() || !self.exchanged.iter().any(|done| done.values == layer.values) {
            return param;
        }
        let coordinates = layer.known.coordinates(&param.device());
        let id = ParamId::new();
        layer.blocks = id;
        Blocks::hand_over(id, &layer.known);
        Param::initialized(id, Tensor::from_dispatch(coordinates.into_dispatch()))
    }
}

/// The update of one layer.
#[derive(Debug)]
pub(crate) struct Job {
    method: Arc<Mutex<Box<dyn Method>>>,
    layer: u32,
    seed: u64,
    step: u32,
    share: f64,
    done: Mutex<Option<Result<Arc<Layout>>>>,
}

impl Job {
    /// Updates a layer: its new values, and the slots with other blocks. The layer's topology is the new one then.
    fn on_module(
        self: &Arc<Self>,
        values: burn::backend::DispatchTensor,
        layer: &mut Layer,
    ) -> Result<(burn::backend::DispatchTensor, Vec<usize>)> {
        let values = Tensor::<3>::from_dispatch(values);
        let is_autodiff = values.is_autodiff();
        let plain = values.without_autodiff();
        let device = crate::device::wgpu_device(&plain.device())?;
        let before = layer.known.layout(&device)?;
        let updated = Dispatch::block_evolve(plain.into_dispatch(), Arc::clone(&before), Arc::clone(self));
        let updated = Tensor::<3>::from_dispatch(updated);
        // Burn's fusion runs nothing before a result is read.
        let _ = updated.clone().slice([0..1, 0..1, 0..1]).into_data();
        let done = self.done.lock().expect("no holder of this lock panics").take();
        let after = done.unwrap_or(Err(Error::NoSignals))?;
        let changed = |(slot, (old, new)): (usize, (usize, usize))| (old != new).then_some(slot);
        let slots = before.topology.places().zip(after.topology.places()).enumerate().filter_map(changed);
        let slots = slots.collect();
        layer.known = Known::of(after);
        let updated = if is_autodiff { Tensor::from_inner(updated) } else { updated };
        Ok((updated.into_dispatch(), slots))
    }

    /// The new values. The old ones are left alone, since other models may hold them.
    pub(crate) fn run(&self, values: CubeTensor, layout: &Layout) -> CubeTensor {
        let (values, done) = match self.record(values.clone(), layout) {
            Ok((values, layout)) => (values, Ok(layout)),
            Err(error) => (values, Err(error)),
        };
        *self.done.lock().expect("no holder of this lock panics") = Some(done);
        values
    }

    fn record(&self, values: CubeTensor, layout: &Layout) -> Result<(CubeTensor, Arc<Layout>)> {
        let signals = layout.watch.take().ok_or(Error::NoSignals)?;
        let shared = &layout.shared;
        let gpu = &shared.gpu;
        let topology = &layout.topology;
        let rows = signals.x.meta.shape()[0];
        let values = values.copy();
        // The method writes to a pattern and to values that no other model has.
        let pattern = Pattern::upload(gpu, topology)?;
        let mut lease = Lease::new(shared);
        let block = topology.block();
        let shape = [topology.nnz(), block, block];
        let weight = lease.operand("the weight's values", values.clone(), &shape)?;
        let weight = BlockMatrix::adopt(pattern.clone(), weight)?;
        let x = lease.operand("the input", signals.x, &[rows, topology.cols()])?;
        let dy = lease.operand("the output's gradient", signals.dy, &[rows, topology.rows()])?;
        let grad = gpu.zeros::<f32>(Class::Scratch, "gradient", &shape)?;
        let step = Step::new(gpu, StepValues::forward(self.step))?;
        let workspace = Workspace::new(gpu, &pattern, false)?;
        let method = self.method.lock().expect("no holder of this lock panics");
        let k = method.k(topology.nnz(), topology.nnz(), self.share);
        gpu.write(workspace.wanted(), &[k as u32])?;
        let signals = Signals::Rows { x: &x, y: &dy, dy: &dy };
        let layer = LayerContext::new(self.layer, self.seed, &weight, &grad, signals, &step, &workspace);
        lease.run(|rec| method.update(rec, &layer))?;
        let topology: Topology = pattern.topology(gpu)?;
        let layout = Layout::with_pattern(layout, topology, pattern);
        Ok((values, layout))
    }
}
