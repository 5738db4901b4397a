//! The method of a run, and what it may do to the network.

use std::time::{Duration, Instant};

use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::graph::{Graph, Network, Param, ParamId, Precision};
use crate::methods::{Method, Moment, Saved, Scope, Static, Surgery, Workspace};
use crate::nn::ModelConfig;
use crate::ops::{self, RemapSource, SetOp, StepValues};
use crate::random::{Key, Stream};
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

use super::Trainer;
use super::plans::Plans;

/// A method with what it needs of each layer.
#[derive(Debug)]
pub(super) struct Evolution {
    pub(super) method: Box<dyn Method>,
    /// Blocks that each layer is to have, by the run's sparsity.
    pub(super) targets: Vec<usize>,
    /// Per layer, where it is sparse and may change.
    pub(super) workspaces: Vec<Option<Workspace>>,
    /// Where each layer's random growth comes from.
    pub(super) keys: Vec<Key>,
    /// Whether plans are out of date.
    pub(super) reshaped: bool,
    /// Whether a layer has been given blocks after the start.
    pub(super) grown: bool,
    /// How long the method has operated, by this process.
    pub(super) operated: Duration,
}

impl Evolution {
    pub(super) fn new(
        gpu: &Gpu,
        method: Box<dyn Method>,
        config: &ModelConfig,
        model: &Network,
    ) -> Result<Self> {
        let mut counts = model.graph().counts(None)?.into_iter();
        let count = |param: &Param| if param.is_matrix() { counts.next().unwrap_or(0) } else { 0 };
        let targets: Vec<usize> = model.store().iter().map(count).collect();
        let smoothing = method.observe_every().is_some();
        let mut workspaces = Vec::new();
        let mut rec = Recorder::new(gpu);
        for layer in model.store().iter() {
            let (Some(weight), false) = (layer.weight().sparse(), method.is_static()) else {
                workspaces.push(None);
                continue;
            };
            let workspace = Workspace::new(gpu, weight.pattern(), smoothing)?;
            ops::bits::add_present(&mut rec, weight.pattern(), workspace.visited())?;
            workspaces.push(Some(workspace));
        }
        gpu.run(&rec.finish()?)?;
        let key = |param: &Param| Key::new(config.seed(), Stream::Growth(param.stream()));
        let keys = model.store().iter().map(key).collect();
        Ok(Self {
            method,
            targets,
            workspaces,
            keys,
            reshaped: false,
            grown: false,
            operated: Duration::ZERO,
        })
    }

    /// What a checkpoint holds of it, by name.
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

    /// Counts new blocks from 0 again.
    pub(super) fn forget_churn(&self, gpu: &Gpu) -> Result<()> {
        let forget = |workspace: &Workspace| gpu.write(&workspace.churn().rows(0, 1)?, &[0]);
        self.workspaces.iter().flatten().try_for_each(forget)
    }

    /// A note for each sparse layer in which no update of this method can ever change anything.
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

    /// Tells the device how many blocks the next update exchanges.
    pub(super) fn want(&self, gpu: &Gpu, model: &Network, share: f64) -> Result<()> {
        for ((layer, workspace), &target) in model.store().iter().zip(&self.workspaces).zip(&self.targets) {
            if let (Some(workspace), Some(weight)) = (workspace, layer.weight().sparse()) {
                let stored = weight.pattern().nnz();
                let wanted = self.method.quota(stored, target.min(stored), share);
                gpu.write(workspace.wanted(), &[wanted as u32])?;
            }
        }
        Ok(())
    }
}

impl Trainer {
    /// Lets the method operate, and brings the plans up to date with what it has done.
    pub(super) fn operate(&mut self, moment: Moment) -> Result<()> {
        let begins = matches!(moment, Moment::Start { .. });
        if self.evolution.method.is_static() {
            return if begins { self.plan() } else { Ok(()) };
        }
        // Steps that are on their way are none of the method's time, but within an epoch the host does not wait for them.
        let waits = !matches!(moment, Moment::Update { .. });
        if waits {
            self.gpu.finish()?;
        }
        let started = Instant::now();
        // The method holds the network while it operates, so it stands aside from it.
        let mut method = std::mem::replace(&mut self.evolution.method, Box::new(Static));
        let result = method.operate(moment, self);
        self.evolution.method = method;
        result?;
        if waits {
            self.gpu.finish()?;
        }
        let alone = started.elapsed();
        // At the end of an epoch a method may also have changed its mind about what it records.
        if self.evolution.reshaped || waits {
            self.plan()?;
        }
        // The plans that a run begins with are none of its doing.
        self.evolution.operated += if begins { alone } else { started.elapsed() };
        Ok(())
    }
}

impl Surgery for Trainer {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn model(&self) -> &Network {
        &self.model
    }

    fn graph(&self, batch: usize, precision: Precision) -> Result<Graph> {
        self.settings.model.graph(batch, precision)
    }

    fn features(&self) -> usize {
        self.data.width()
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
        self.model.forward(&mut rec, None)?;
        self.batch.room.loss(&mut rec, &self.model, &*self.objective, false)?;
        self.model.backward(&mut rec, None)?;
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
        if nnz == 0 {
            let mut reason = format!("{} leaves {name} with no block", self.settings.method.kind);
            if self.settings.method.scope == Scope::Global {
                reason += "; with the scope layer none is emptied";
            }
            return Err(Error::Config { option: "sparsity", reason });
        }
        let (Some(old), Some(workspace)) =
            (layer.weight().sparse().cloned(), &self.evolution.workspaces[param.index()])
        else {
            return Err(Error::argument("reshape", "param", "sparse and not static", name));
        };
        // Plans hold on to what they work with, and these are out of date anyway.
        self.plans = Plans::empty(&self.gpu)?;
        let gpu = &self.gpu;
        let pattern = old.pattern().sized_like(gpu, nnz)?;
        let weight = BlockMatrix::alloc(gpu, Class::Values, &name, &pattern)?;
        let old_map = gpu.alloc::<u32>(Class::Scratch, "map", &[pattern.places()])?;
        let map = workspace.scores_of_no_use().reinterpret(DType::U32)?;

        let mut rec = Recorder::new(gpu);
        let started = self.position.step > 0;
        // The network that a run begins with is nothing new.
        if started {
            let room = || gpu.alloc::<u32>(Class::Scratch, "set of blocks", set.shape());
            let (before, fresh) = (room()?, room()?);
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
        let next = match self.batch.room.step.scale() {
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
