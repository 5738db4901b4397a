//! The method of a run, its workspaces, and the changes it makes between steps.

use std::time::{Duration, Instant};

use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::graph::{Graph, Network, Param, ParamId, Precision, Span};
use crate::methods::{Method, MutableTopology, Phase, Saved, Static, Updates, Workspace};
use crate::ops::{self, RemapSource, SetOp, StepValues};
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

use super::Trainer;
use super::plans::{LossOf, Plans};

/// Method of a run with its workspaces.
#[derive(Debug)]
pub(super) struct Evolution {
    pub(super) method: Box<dyn Method>,
    /// Blocks that the run's sparsity gives each parameter; 0 for dense ones.
    pub(super) targets: Vec<usize>,
    /// Workspace of each parameter that is sparse and may change.
    pub(super) workspaces: Vec<Option<Workspace>>,
    /// Births of the blocks of each span of several parameters, of which the workspaces have parts.
    births: Vec<Option<Tensor>>,
    /// Whether the method [keeps the number of blocks](Method::keeps_sizes). It is asked once, because it is not here while it mutates
    /// the network.
    keeps_sizes: bool,
    /// Whether a layer was reshaped since plans were recorded.
    pub(super) reshaped: bool,
    /// Whether a layer was given blocks after the first step.
    pub(super) grown: bool,
    /// Time that the method took between steps, in this process.
    pub(super) mutating: Duration,
}

impl Evolution {
    pub(super) fn new(gpu: &Gpu, method: Box<dyn Method>, model: &Network) -> Result<Self> {
        let mut counts = model.graph().counts(None)?.into_iter();
        let count = |param: &Param| if param.is_matrix() { counts.next().unwrap_or(0) } else { 0 };
        let targets: Vec<usize> = model.store().iter().map(count).collect();
        let smoothing = method.observe_every().is_some();
        let mut workspaces: Vec<Option<Workspace>> = model.store().iter().map(|_| None).collect();
        let mut births = Vec::new();
        let mut rec = Recorder::new(gpu);
        for span in model.store().spans().filter(|_| !method.is_static()) {
            let words = span.births(gpu)?;
            for (param, range) in span.blocks {
                let (Some(words), Some(weight)) = (&words, model.store().get(*param).weight().sparse())
                else {
                    continue;
                };
                let born = words.rows(range.word, range.nnz)?;
                let workspace = Workspace::with_births(gpu, weight.pattern(), born, smoothing)?;
                ops::bits::add_present(&mut rec, weight.pattern(), workspace.visited())?;
                workspaces[param.index()] = Some(workspace);
            }
            births.extend(span.param.is_none().then_some(words));
        }
        gpu.run(&rec.finish()?)?;
        let (reshaped, grown, mutating) = (false, false, Duration::ZERO);
        let keeps_sizes = method.keeps_sizes();
        Ok(Self { method, targets, workspaces, births, keeps_sizes, reshaped, grown, mutating })
    }

    /// Births of the blocks of span number `number` of the network, where blocks may change.
    pub(super) fn births(&self, number: usize, span: &Span<'_>) -> Option<&Tensor> {
        match span.param {
            Some(param) => self.workspaces[param.index()].as_ref().map(Workspace::born),
            None => self.births.get(number)?.as_ref(),
        }
    }

    /// Whether an update replaces a training step, rather than following it.
    pub(super) fn updates_replace_steps(&self) -> bool {
        self.method.updates().is_none_or(Updates::replace_steps)
    }

    /// State that a checkpoint holds, by name.
    pub(super) fn tensors(&self, model: &Network) -> Vec<(String, Saved)> {
        let mut tensors = Vec::new();
        for (layer, workspace) in model.store().iter().zip(&self.workspaces) {
            let (Some(workspace), Some(weight)) = (workspace, layer.weight().sparse()) else { continue };
            let name = |part| format!("method.{}.{part}", layer.layer());
            let (words, places) = (workspace.visited().clone(), weight.pattern().places());
            tensors.push((name("visited"), Saved::Set { words, places }));
            tensors.push((name("churn"), Saved::Numbers(workspace.churn().clone())));
            if let Some(smoothed) = workspace.smoothed() {
                tensors.push((name("smoothed"), Saved::Numbers(smoothed.clone())));
            }
        }
        let own = self.method.tensors().into_iter();
        tensors.extend(own.map(|(name, saved)| (format!("method.{name}"), saved)));
        tensors
    }

    /// Sets the counts of new blocks to 0.
    pub(super) fn forget_churn(&self, gpu: &Gpu) -> Result<()> {
        let forget = |workspace: &Workspace| gpu.write(&workspace.churn().rows(0, 1)?, &[0]);
        self.workspaces.iter().flatten().try_for_each(forget)
    }

    /// Note for each sparse layer that no update can change.
    pub(super) fn idle_layers(&self, model: &Network) -> Vec<String> {
        let idle = |(layer, workspace): (&Param, &Option<Workspace>)| {
            let pattern = layer.weight().sparse()?.pattern();
            workspace.as_ref()?;
            let reason = match pattern.nnz() {
                1 => "has a single block, which updates leave",
                all if all == pattern.places() => "has every block there can be",
                _ => return None,
            };
            Some(format!("{} {reason}: its topology cannot change", layer.layer()))
        };
        model.store().iter().zip(&self.workspaces).filter_map(idle).collect()
    }

    /// Writes the number of blocks that the next update exchanges in each layer, for a share of the blocks.
    pub(super) fn want(&self, gpu: &Gpu, model: &Network, share: f64) -> Result<()> {
        for ((layer, workspace), &target) in model.store().iter().zip(&self.workspaces).zip(&self.targets) {
            if let (Some(workspace), Some(weight)) = (workspace, layer.weight().sparse()) {
                let stored = weight.pattern().nnz();
                let k = self.method.k(stored, target.min(stored), share);
                gpu.write(workspace.wanted(), &[k as u32])?;
            }
        }
        Ok(())
    }
}

impl Trainer {
    /// Lets the method change topologies, and records the plans again where needed.
    pub(super) fn mutate(&mut self, phase: Phase) -> Result<()> {
        let begins = matches!(phase, Phase::Start { .. });
        if self.evolution.method.is_static() {
            return if begins { self.plan() } else { Ok(()) };
        }
        // Time of steps in flight is not the method's, but within an epoch the host must not wait for them.
        let waits = !matches!(phase, Phase::Update { .. });
        if waits {
            self.gpu.finish()?;
        }
        let started = Instant::now();
        // The method borrows the whole trainer as the network, so it is moved out of the trainer.
        let mut method = std::mem::replace(&mut self.evolution.method, Box::new(Static));
        let result = method.mutate(phase, self);
        self.evolution.method = method;
        result?;
        if waits {
            self.gpu.finish()?;
        }
        let alone = started.elapsed();
        // After an epoch a method may record other work than before, such as random growth.
        if self.evolution.reshaped || waits {
            self.plan()?;
        }
        // The first recording of the plans is not the method's time.
        self.evolution.mutating += if begins { alone } else { started.elapsed() };
        Ok(())
    }
}

impl MutableTopology for Trainer {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn model(&self) -> &Network {
        &self.model
    }

    fn smallest_graph(&self) -> Result<Graph> {
        // Methods follow what flows through the whole network.
        self.settings.model.in_one_part().smallest_graph(Precision::F32)
    }

    fn features(&self) -> usize {
        self.data.width()
    }

    fn sparsity(&self) -> f64 {
        self.settings.model.sparsity().unwrap_or(0.0)
    }

    fn targets(&self) -> &[usize] {
        &self.evolution.targets
    }

    fn backward(&mut self, batch: u64) -> Result<()> {
        let rows = self.data.train.rows();
        let per_epoch = self.settings.steps_per_epoch(rows);
        let members = self.members(batch % per_epoch, batch / per_epoch);
        let row_scale = 1.0 / (members.len() * self.batch.labels_per_row()) as f32;
        self.batch.load(&self.gpu, &self.data.train, &members, StepValues::backward(0, row_scale))?;
        let mut rec = Recorder::new(&self.gpu);
        self.model.refresh(&mut rec, None)?;
        for part in 0..self.model.parts() {
            self.model.forward_part(&mut rec, part, None)?;
            let of = LossOf { part, counted: false, training: true, taught: None };
            self.batch.buffers.loss(&mut rec, &self.model, &*self.objective, of)?;
            self.model.backward_part(&mut rec, part, None)?;
        }
        self.gpu.run(&rec.finish()?)?;
        Ok(())
    }

    fn reshape(&mut self, param: ParamId, set: &Tensor, nnz: usize) -> Result<()> {
        if param.index() >= self.model.store().len() {
            let wanted = format!("below {}", self.model.store().len());
            return Err(Error::argument("reshape", "param", wanted, param.index()));
        }
        let layer = self.model.store().get(param);
        let name = layer.layer().to_owned();
        if self.evolution.keeps_sizes {
            let reason = "keeps_sizes says that no layer gets another number of blocks, but one is reshaped"
                .to_owned();
            return Err(Error::Config { option: "method", reason });
        }
        if nnz == 0 {
            let reason = format!("the method leaves {name} with no block");
            return Err(Error::Config { option: "sparsity", reason });
        }
        let (Some(old), Some(workspace)) =
            (layer.weight().sparse().cloned(), &self.evolution.workspaces[param.index()])
        else {
            return Err(Error::argument("reshape", "param", "sparse and not static", name));
        };
        // Plans keep the old buffers alive, and are out of date.
        self.plans = Plans::empty(&self.gpu)?;
        let gpu = &self.gpu;
        let pattern = old.pattern().sized_like(gpu, nnz)?;
        let weight = BlockMatrix::alloc(gpu, Class::Values, &name, &pattern)?;
        let old_map = gpu.alloc::<u32>(Class::Scratch, "map", &[pattern.places()])?;
        let map = workspace.scores().reinterpret(DType::U32)?;

        let mut rec = Recorder::new(gpu);
        let started = self.position.step > 0;
        // Blocks of the start are not counted as new.
        if started {
            let alloc = || gpu.alloc::<u32>(Class::Scratch, "set of blocks", set.shape());
            let (before, fresh) = (alloc()?, alloc()?);
            ops::bits::present(&mut rec, old.pattern(), &before)?;
            ops::bits::combine(&mut rec, set, &before, SetOp::AndNot, &fresh)?;
            ops::bits::count(&mut rec, &fresh, workspace.churn(), true)?;
        }
        ops::map_pattern(&mut rec, old.pattern(), &old_map)?;
        ops::fill_pattern(&mut rec, &pattern, set, &map)?;
        ops::bits::add_present(&mut rec, &pattern, workspace.visited())?;
        let source = |values| RemapSource { values, map: &old_map };
        ops::remap_blocks(&mut rec, source(old.values()), None, &weight)?;
        let mut parts = Vec::new();
        for part in self.model.store().get(param).state() {
            let new = gpu.alloc::<f32>(Class::Optimizer, &name, weight.values().shape())?;
            let new = BlockMatrix::adopt(pattern.clone(), new)?;
            ops::remap_blocks(&mut rec, source(part), None, &new)?;
            parts.push(new.values().clone());
        }
        let resized = workspace.resized(gpu, nnz)?;
        let next = match self.batch.buffers.step.scale() {
            _ if !started => 0,
            Some(scale) => scale.read(gpu)?.taken + 1,
            None => self.position.moves() + 1,
        };
        ops::remap_births(&mut rec, workspace.born(), &old_map, &pattern, resized.born(), next)?;
        gpu.run(&rec.finish()?)?;

        self.evolution.workspaces[param.index()] = Some(resized);
        self.evolution.grown |= started;
        self.model.store_mut().get_mut(param).replace(&self.gpu, weight, parts)?;
        self.evolution.reshaped = true;
        Ok(())
    }
}
