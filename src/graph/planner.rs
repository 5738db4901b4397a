//! Planner: the order of the forward pass, and the first and last use of each storage.

use std::collections::HashMap;

use super::build::Graph;
use super::layout::{Action, Layout, NodeLayout, Passes, StorageId, Through, Watched};
use super::schedule::Schedule;
use super::segments::Segments;
use super::value::Origin;
use super::wiring::{Input, PRE};
use crate::gpu::DType;
use crate::{Error, Result};

/// The gradient of a value while the backward pass is laid out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grad {
    /// In a storage that other values' gradients may have, too.
    Borrowed(StorageId),
    /// In a storage of its own.
    Owned(StorageId),
}

impl Grad {
    pub(super) fn storage(self) -> StorageId {
        match self {
            Self::Borrowed(storage) | Self::Owned(storage) => storage,
        }
    }
}

/// A layout in the making.
pub(super) struct Planner<'g> {
    pub(super) graph: &'g Graph,
    pub(super) readers: Vec<Vec<(usize, usize)>>,
    /// Values whose gradient is wanted.
    pub(super) wanted: Vec<bool>,
    pub(super) grads: Vec<Option<Grad>>,
    /// Values whose gradient is borrowed, by its storage.
    pub(super) borrowers: HashMap<StorageId, Vec<usize>>,
    /// Values whose gradient has been taken through their fused activation.
    pub(super) taken_through: Vec<bool>,
    pub(super) schedule: Schedule,
    pub(super) segments: Segments,
    /// Backward pass of the part that is laid out.
    pub(super) actions: Vec<Action>,
    /// What the backward pass repeats of each segment.
    pub(super) again: Vec<Vec<Action>>,
    /// Storage of each value in the forward pass, where it is another than in the backward pass.
    first: Vec<Option<StorageId>>,
    pub(super) layout: Layout,
}

impl<'g> Planner<'g> {
    /// The layout of a graph's forward and backward passes: the order of everything that they record, and the memory of every
    /// storage by its first and last use.
    ///
    /// # Errors
    /// [`Error::Argument`] for a graph without an output, an input that nothing reads, and a parameter whose gradient the graph
    /// doesn't lead to; [`Error::Config`] for recomputation in a graph of several parts.
    pub(super) fn plan(graph: &'g Graph) -> Result<Layout> {
        if let (Some(recompute), false) = (graph.recompute, graph.heads.is_empty()) {
            let reason = format!(
                "{recompute} has nothing to forget in a network of parts with losses of their own, each of which is freed before \
                 the next; leave it out, or --local"
            );
            return Err(Error::Config { option: "recompute", reason });
        }
        let mut best = None;
        let ways = graph.recompute.map(|recompute| Segments::ways(graph, recompute)).unwrap_or_default();
        for segments in ways {
            let layout = Self::plan_with(graph, segments)?;
            let bytes = layout.shared.iter().sum::<u64>();
            if best.as_ref().is_none_or(|&(least, _)| bytes < least) {
                best = Some((bytes, layout));
            }
        }
        match best {
            Some((_, layout)) => Ok(layout),
            None => Self::plan_with(graph, Segments::default()),
        }
    }

    fn plan_with(graph: &'g Graph, segments: Segments) -> Result<Layout> {
        let mut planner = Self::new(graph, segments)?;
        planner.forward();
        planner.backward()?;
        planner.measure();
        planner.layout.share();
        Ok(planner.layout)
    }

    fn new(graph: &'g Graph, segments: Segments) -> Result<Self> {
        if graph.outputs.is_empty() {
            return Err(Error::argument("graph", "outputs", "one at least", 0));
        }
        let readers = graph.readers();
        if let Some(&input) = graph.inputs.iter().find(|&&input| readers[input].is_empty()) {
            return Err(Error::argument("graph", "input", "read by a node", &graph.values[input].name));
        }
        let mut uses = vec![0; graph.params.len()];
        graph.nodes.iter().flat_map(|node| &node.wiring.params).for_each(|param| uses[param.0] += 1);
        for (param, uses) in graph.params.iter().zip(&uses) {
            let wanted = match (uses, param.grid()) {
                (0, _) => "of a node",
                (2.., Some(_)) => "of one node, as it is block-sparse",
                _ => continue,
            };
            return Err(Error::argument("graph", "parameter", wanted, &param.name));
        }
        let mut wanted = vec![false; graph.values.len()];
        for (at, value) in graph.values.iter().enumerate() {
            wanted[at] = match value.origin {
                Origin::Input { gradient } => gradient,
                Origin::Detached(_) => false,
                Origin::Shallow(of) => wanted[of],
                Origin::Node { node, .. } => {
                    let wiring = &graph.nodes[node].wiring;
                    let flows = |input: &Input| input.differentiable && wanted[input.value.index];
                    !wiring.params.is_empty() || wiring.inputs.iter().any(flows)
                }
            };
        }
        let layout = Layout {
            storages: Vec::new(),
            nodes: vec![NodeLayout::default(); graph.nodes.len()],
            first: vec![None; graph.nodes.len()],
            flows: vec![None; graph.nodes.len()],
            parts: Vec::new(),
            heads: Vec::new(),
            head_nodes: graph.head_nodes(),
            values: Vec::new(),
            output_grads: Vec::new(),
            input_grads: vec![None; graph.inputs.len()],
            watched: Vec::new(),
            shared: Vec::new(),
            shared_params: uses.into_iter().map(|uses| uses > 1).collect(),
        };
        let (grads, taken_through) = (vec![None; graph.values.len()], vec![false; graph.values.len()]);
        Ok(Self {
            graph,
            readers,
            wanted,
            grads,
            borrowers: HashMap::new(),
            taken_through,
            schedule: Schedule::of(graph),
            actions: Vec::new(),
            again: Vec::new(),
            first: vec![None; graph.values.len()],
            segments,
            layout,
        })
    }

    /// Lays out the forward pass: casts before the nodes that read another type than is stored. Values that the backward pass
    /// computes once more have a storage in either pass.
    fn forward(&mut self) {
        let graph = self.graph;
        // Heads of one shape share a storage, rather than take turns in the large buffers of activations.
        let same_head = |at: usize| {
            let alike = |head: &&usize| {
                let (of, value) = (&graph.values[**head], &graph.values[at]);
                (&of.shape, of.dtype) == (&value.shape, value.dtype)
            };
            graph.heads.iter().find(alike).filter(|&&head| head < at && graph.heads.contains(&at)).copied()
        };
        for (at, value) in graph.values.iter().enumerate() {
            let storage = match value.origin {
                Origin::Detached(of) | Origin::Shallow(of) => self.layout.values[of],
                Origin::Node { node, output } => {
                    match self.in_place(node, output).or_else(|| same_head(at)) {
                        Some(of) => self.layout.values[of],
                        None => {
                            let pinned = graph.outputs.contains(&at);
                            self.layout.add(&value.name, &value.shape, value.dtype, pinned)
                        }
                    }
                }
                Origin::Input { .. } => self.layout.add(&value.name, &value.shape, value.dtype, true),
            };
            self.layout.values.push(storage);
            if self.segments.repeats(graph, at) {
                let Origin::Node { node, output } = value.origin else { continue };
                self.first[at] = match self.in_place(node, output) {
                    Some(of) => self.first[of],
                    None => Some(self.layout.add(&value.name, &value.shape, value.dtype, false)),
                };
            }
        }
        let mut copies = vec![None; graph.values.len()];
        for part in 0..self.schedule.parts.len() {
            let mut forward = Vec::new();
            for at in self.schedule.parts[part].forward.clone() {
                let repeats = self.segments.of(at).is_some();
                let layout = self.lay(at, repeats, &mut copies, &mut forward);
                if repeats {
                    self.layout.first[at] = Some(layout);
                } else {
                    self.layout.nodes[at] = layout;
                }
                forward.push(Action::Node(at));
            }
            if let Some(&head) = graph.heads.get(part) {
                let (info, output) = (&graph.values[head], self.layout.values[head]);
                let before = self.layout.heads.iter().find(|[before, _]| *before == output).copied();
                let [_, grad] = before.unwrap_or_else(|| {
                    let name = format!("gradient of {}", info.name);
                    [output, self.layout.add(&name, &info.shape, DType::F32, false)]
                });
                self.layout.heads.push([output, grad]);
                forward.push(Action::Loss { output, grad });
            }
            self.layout.parts.push(Passes { forward, backward: Vec::new() });
        }
        for segment in 0..self.segments.spans.len() {
            self.repeat(segment);
        }
        for (at, value) in graph.values.iter().enumerate() {
            // What is computed once more is not scanned: its memory is used again before the scan.
            if value.watched.is_some() && !self.segments.repeats(graph, at) {
                let stored = self.layout.values[at];
                let part = match graph.values[graph.stored(at)].origin {
                    Origin::Node { node, .. } => self.schedule.part_of[node],
                    _ => 0,
                };
                let storage = self.pre_of(at).unwrap_or(stored);
                self.layout.watched.push(Watched { value: at, storage, part });
            }
        }
    }

    /// Storages of a node in a pass, and casts of its inputs: in the forward pass those of the `first` time, where there are others.
    fn lay(
        &mut self,
        node: usize,
        first: bool,
        copies: &mut [Option<StorageId>],
        actions: &mut Vec<Action>,
    ) -> NodeLayout {
        let graph = self.graph;
        let entry = &graph.nodes[node];
        let mut inputs = Vec::new();
        for input in &entry.wiring.inputs {
            let value = graph.stored(input.value.index);
            let info = &graph.values[value];
            let stored = self.storage(value, first);
            let dtype = input.dtype.unwrap_or(info.dtype);
            if dtype == info.dtype || info.dtype == DType::U32 {
                inputs.push(stored);
                continue;
            }
            let copy = match copies[value] {
                Some(copy) => copy,
                None => {
                    let copy = self.layout.add(&format!("{} cast", info.name), &info.shape, dtype, false);
                    actions.push(Action::Cast { from: stored, to: copy });
                    copies[value] = Some(copy);
                    copy
                }
            };
            inputs.push(copy);
        }
        let buffers = entry.wiring.buffers.iter();
        let buffers: Vec<_> =
            buffers.map(|buffer| self.layout.add(buffer.name, &buffer.shape, buffer.dtype, false)).collect();
        let outputs = entry.outputs.iter().map(|&output| self.storage(output, first)).collect();
        NodeLayout { inputs, outputs, buffers, ..NodeLayout::default() }
    }

    fn storage(&self, value: usize, first: bool) -> StorageId {
        self.first[value].filter(|_| first).unwrap_or(self.layout.values[value])
    }

    /// Lays out what the backward pass repeats of a segment, and what it reads of the rest.
    fn repeat(&mut self, segment: usize) {
        let repeated = self.segments.repeated(self.graph, segment);
        let mut copies = vec![None; self.graph.values.len()];
        let mut actions = Vec::new();
        for node in self.segments.spans[segment].clone() {
            let mut layout = self.lay(node, false, &mut copies, &mut actions);
            if let Some(first) = &self.layout.first[node] {
                let buffers =
                    layout.buffers.iter_mut().zip(&first.buffers).zip(&self.graph.nodes[node].wiring.buffers);
                for ((again, &first), buffer) in buffers {
                    if buffer.name == PRE && self.segments.keeps_pre(self.graph, node) {
                        *again = first;
                    }
                }
            }
            self.layout.nodes[node] = layout;
            if repeated.contains(&node) {
                actions.push(Action::Again(node));
            }
        }
        self.again.push(actions);
    }

    /// Storage of a value's pre-activation, where its node keeps one.
    fn pre_of(&self, value: usize) -> Option<StorageId> {
        let Origin::Node { node, .. } = self.graph.values[value].origin else { return None };
        let buffers = &self.graph.nodes[node].wiring.buffers;
        let at = buffers.iter().position(|buffer| buffer.name == PRE)?;
        self.layout.nodes[node].buffers.get(at).copied()
    }

    /// The input whose place an output takes: nothing but this node reads it, neither now nor in the backward pass.
    fn in_place(&self, node: usize, output: usize) -> Option<usize> {
        let graph = self.graph;
        let wiring = &graph.nodes[node].wiring;
        let description = &wiring.outputs[output];
        let input = &wiring.inputs[description.in_place?];
        let value = input.value.index;
        let info = &graph.values[value];
        let made = info.output.as_ref()?;
        let alone = self.readers[value].len() == 1 && !graph.is_output(value) && info.watched.is_none();
        let alike = info.dtype == description.dtype && info.shape == description.shape;
        let read = input.kept || made.kept || made.fused.is_some_and(|fused| !fused.needs_pre());
        let cast = input.dtype.is_some_and(|dtype| dtype != info.dtype);
        // An output of the network has a buffer of its own.
        let pinned = graph.is_output(graph.nodes[node].outputs[output]);
        let keeps = [value, graph.nodes[node].outputs[output]].iter().any(|&at| self.segments.keeps(at));
        (alone && alike && !read && !cast && !pinned && !keeps).then_some(value)
    }

    /// Finds the first and the last action of each storage, over the parts one behind the other.
    fn measure(&mut self) {
        let parts = std::mem::take(&mut self.layout.parts);
        let (mut at, mut ends) = (0, Vec::new());
        for part in &parts {
            let forward = part.forward.iter().map(|action| (action, true));
            for (action, forward) in forward.chain(part.backward.iter().map(|action| (action, false))) {
                for storage in self.touched(action, forward) {
                    let live = &mut self.layout.storages[storage.0].live;
                    *live = Some(live.map_or((at, at), |(first, _)| (first, at)));
                }
                at += 1;
            }
            ends.push(at.max(1) - 1);
        }
        self.layout.parts = parts;
        // Watched values are scanned at the end of their part.
        for &Watched { storage, part, .. } in &self.layout.watched {
            let live = &mut self.layout.storages[storage.0].live;
            *live = live.map(|(first, last)| (first, last.max(ends[part])));
        }
    }

    /// Storages that an action of a forward or a backward pass touches.
    fn touched(&self, action: &Action, forward: bool) -> Vec<StorageId> {
        let mut touched = Vec::new();
        match *action {
            Action::Node(node) if forward => {
                let layout = self.layout.first[node].as_ref().unwrap_or(&self.layout.nodes[node]);
                self.touch_forward(node, layout, &mut touched);
            }
            Action::Again(node) => self.touch_forward(node, &self.layout.nodes[node], &mut touched),
            Action::Node(node) => self.touch_backward(node, &self.layout.nodes[node], &mut touched),
            Action::Inputs(node) => {
                let layout = self.layout.flows[node].iter();
                layout.for_each(|layout| self.touch_backward(node, layout, &mut touched));
            }
            Action::Loss { output, grad } => touched.extend([output, grad]),
            Action::Cast { from, to }
            | Action::Root { from, to }
            | Action::Add { from, to }
            | Action::Copy { from, to } => {
                touched.extend([from, to]);
            }
            Action::Zero(storage) => touched.push(storage),
            Action::Activation { through, from, to } => touched.extend([from, to, through.at]),
        }
        touched
    }

    /// The fused activation of an output, with its pre-activation, or the output where that is enough.
    pub(super) fn through(&self, node: usize, output: usize) -> Option<Through> {
        let fused = self.graph.nodes[node].wiring.outputs[output].fused?;
        let value = self.graph.nodes[node].outputs[output];
        let pre = fused.needs_pre().then(|| self.pre_of(value)).flatten();
        Some(Through { fused, at: pre.unwrap_or(self.layout.values[value]) })
    }

    fn touch_forward(&self, node: usize, layout: &NodeLayout, touched: &mut Vec<StorageId>) {
        let wiring = &self.graph.nodes[node].wiring;
        touched.extend(layout.inputs.iter().chain(&layout.outputs));
        let buffers = layout.buffers.iter().zip(&wiring.buffers);
        touched.extend(buffers.filter(|(_, buffer)| !buffer.backward_only).map(|(&storage, _)| storage));
    }

    fn touch_backward(&self, node: usize, layout: &NodeLayout, touched: &mut Vec<StorageId>) {
        let wiring = &self.graph.nodes[node].wiring;
        let inputs = layout.inputs.iter().zip(&wiring.inputs);
        touched.extend(inputs.filter(|(_, input)| input.kept).map(|(&storage, _)| storage));
        let outputs = layout.outputs.iter().zip(&wiring.outputs);
        // A node may show an output that nobody reads; it has a tensor, whatever is in it.
        let shown = self.layout.first[node].is_some();
        touched.extend(
            outputs.filter(|(_, output)| output.kept || output.shown || shown).map(|(&storage, _)| storage),
        );
        touched.extend(&layout.buffers);
        touched.extend(&layout.output_grads);
        for target in layout.input_grads.iter().flatten() {
            touched.push(target.storage);
            touched.extend(target.through.map(|through| through.at));
        }
    }
}
