//! Layout: the order of everything that a step records, and the memory of every value and gradient by liveness.

use std::collections::HashMap;

use super::build::Graph;
use super::node::{Fused, PRE};
use super::spec::ParamId;
use super::value::Origin;
use crate::gpu::DType;
use crate::{Error, Result};

/// A piece of memory with contents of one kind, by its place in [`Layout::storages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct StorageId(pub(super) usize);

/// A value, a copy of one, a node's buffer, or a gradient.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
    /// First and last action that touches it.
    live: Option<(usize, usize)>,
    /// Whether the host or a caller reads or writes it: it has a buffer of its own.
    pub(super) pinned: bool,
    /// The shared buffer it lies in, where it has none of its own.
    pub(super) shared: usize,
}

impl Storage {
    /// Whether any pass touches it.
    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.size()
    }
}

/// Something that a pass records.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// A node's own pass.
    Node(usize),
    /// A copy of another type.
    Cast { from: StorageId, to: StorageId },
    /// The gradient that the loss left, scaled where the step has a scale.
    Root { from: StorageId, to: StorageId },
    /// `to = to + from`.
    Add { from: StorageId, to: StorageId },
    /// `to = from`.
    Copy { from: StorageId, to: StorageId },
    /// Zeros.
    Zero(StorageId),
    /// The gradient of an output taken through its fused activation.
    Activation { origin: (usize, usize), from: StorageId, to: StorageId },
}

/// Where the gradient of an input goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Target {
    pub(super) storage: StorageId,
    pub(super) add: bool,
    /// Node and output whose fused activation the writer applies the derivative of.
    pub(super) fused: Option<(usize, usize)>,
}

/// Where the gradient of a node's parameter goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum WeightGrad {
    /// The parameter's own gradient.
    Only,
    /// A part that is added to the gradient, of a parameter that several nodes share.
    Part,
}

/// Storages of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeLayout {
    pub(super) inputs: Vec<StorageId>,
    pub(super) outputs: Vec<StorageId>,
    pub(super) buffers: Vec<StorageId>,
    pub(super) output_grads: Vec<StorageId>,
    pub(super) input_grads: Vec<Option<Target>>,
    pub(super) weight_grads: Vec<WeightGrad>,
}

/// The layout of a graph.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) storages: Vec<Storage>,
    pub(super) nodes: Vec<NodeLayout>,
    pub(super) forward: Vec<Action>,
    pub(super) backward: Vec<Action>,
    /// Storage of each value.
    pub(super) values: Vec<StorageId>,
    /// Gradient of each output, as the loss writes it.
    pub(super) output_grads: Vec<StorageId>,
    /// Gradient of each input that has one.
    pub(super) input_grads: Vec<Option<StorageId>>,
    /// Storage that is scanned for each watched value.
    pub(super) watched: Vec<(usize, StorageId)>,
    /// Bytes of each buffer that storages share.
    pub(super) shared: Vec<u64>,
    /// Parameters that several nodes share.
    shared_params: Vec<bool>,
}

/// The gradient of a value while the backward pass is laid out.
#[derive(Debug, Clone, Copy)]
enum Grad {
    /// In a storage that other values' gradients may have, too.
    Borrowed(StorageId),
    /// In a storage of its own.
    Owned(StorageId),
}

impl Grad {
    fn storage(self) -> StorageId {
        match self {
            Self::Borrowed(storage) | Self::Owned(storage) => storage,
        }
    }
}

struct Planner<'g> {
    graph: &'g Graph,
    readers: Vec<Vec<(usize, usize)>>,
    /// Values whose gradient is wanted.
    wanted: Vec<bool>,
    grads: Vec<Option<Grad>>,
    /// Values whose gradient is borrowed, by its storage.
    borrowers: HashMap<StorageId, Vec<usize>>,
    /// Values whose gradient has been taken through their fused activation.
    through: Vec<bool>,
    layout: Layout,
}

impl Layout {
    /// The layout of a graph's forward and backward passes.
    ///
    /// # Errors
    /// [`Error::Argument`] for a graph without an output, an input that nothing reads, and a parameter whose gradient the graph
    /// doesn't lead to.
    pub(super) fn new(graph: &Graph) -> Result<Self> {
        let mut planner = Planner::new(graph)?;
        planner.forward();
        planner.backward()?;
        planner.measure();
        let mut layout = planner.layout;
        layout.share();
        Ok(layout)
    }

    /// Whether several nodes share a parameter.
    pub(super) fn is_shared(&self, param: ParamId) -> bool {
        self.shared_params[param.0]
    }

    fn add(&mut self, name: &str, shape: &[usize], dtype: DType, pinned: bool) -> StorageId {
        let shape = shape.to_vec();
        self.storages.push(Storage { name: name.to_owned(), shape, dtype, live: None, pinned, shared: 0 });
        StorageId(self.storages.len() - 1)
    }

    fn storage(&self, id: StorageId) -> &Storage {
        &self.storages[id.0]
    }

    /// Gives storages that are never live together the same buffers: each takes the smallest free buffer that is large enough, or
    /// enlarges the largest one.
    fn share(&mut self) {
        let mut order: Vec<usize> = (0..self.storages.len()).collect();
        order.retain(|&at| !self.storages[at].pinned && self.storages[at].live.is_some());
        order.sort_by_key(|&at| self.storages[at].live);
        let mut free: Vec<usize> = Vec::new();
        let mut busy: Vec<(usize, usize)> = Vec::new();
        for at in order {
            let (start, end) = self.storages[at].live.unwrap_or_default();
            let bytes = self.storages[at].bytes();
            busy.retain(|&(until, buffer)| {
                if until < start {
                    free.push(buffer);
                }
                until >= start
            });
            let sizes = &self.shared;
            let fits = free.iter().enumerate().filter(|&(_, &buffer)| sizes[buffer] >= bytes);
            let best = fits.min_by_key(|&(_, &buffer)| (sizes[buffer], buffer));
            let best = best.or_else(|| free.iter().enumerate().max_by_key(|&(_, &buffer)| (sizes[buffer], buffer)));
            let buffer = match best.map(|(place, _)| place) {
                Some(place) => free.swap_remove(place),
                None => {
                    self.shared.push(0);
                    self.shared.len() - 1
                }
            };
            self.shared[buffer] = self.shared[buffer].max(bytes);
            self.storages[at].shared = buffer;
            busy.push((end, buffer));
        }
    }
}

impl<'g> Planner<'g> {
    fn new(graph: &'g Graph) -> Result<Self> {
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
                Origin::Node { node, .. } => {
                    let wiring = &graph.nodes[node].wiring;
                    let flows = |input: &super::Input| input.differentiable && wanted[input.value.index];
                    !wiring.params.is_empty() || wiring.inputs.iter().any(flows)
                }
            };
        }
        let layout = Layout {
            storages: Vec::new(),
            nodes: vec![NodeLayout::default(); graph.nodes.len()],
            forward: Vec::new(),
            backward: Vec::new(),
            values: Vec::new(),
            output_grads: Vec::new(),
            input_grads: vec![None; graph.inputs.len()],
            watched: Vec::new(),
            shared: Vec::new(),
            shared_params: uses.into_iter().map(|uses| uses > 1).collect(),
        };
        let (grads, through) = (vec![None; graph.values.len()], vec![false; graph.values.len()]);
        Ok(Self { graph, readers, wanted, grads, borrowers: HashMap::new(), through, layout })
    }

    /// Lays out the forward pass: casts before the nodes that read another type than is stored.
    fn forward(&mut self) {
        let graph = self.graph;
        let mut copies: Vec<Option<StorageId>> = vec![None; graph.values.len()];
        for (at, value) in graph.values.iter().enumerate() {
            let storage = match value.origin {
                Origin::Detached(of) => self.layout.values[of],
                Origin::Node { node, output } => match self.in_place(node, output) {
                    Some(of) => self.layout.values[of],
                    None => {
                        let pinned = graph.outputs.contains(&at);
                        self.layout.add(&value.name, &value.shape, value.dtype, pinned)
                    }
                },
                Origin::Input { .. } => self.layout.add(&value.name, &value.shape, value.dtype, true),
            };
            self.layout.values.push(storage);
        }
        for (at, node) in graph.nodes.iter().enumerate() {
            let mut inputs = Vec::new();
            for input in &node.wiring.inputs {
                let value = graph.stored(input.value.index);
                let info = &graph.values[value];
                let stored = self.layout.values[value];
                let dtype = input.dtype.unwrap_or(info.dtype);
                if dtype == info.dtype || info.dtype == DType::U32 {
                    inputs.push(stored);
                    continue;
                }
                let copy = match copies[value] {
                    Some(copy) => copy,
                    None => {
                        let copy = self.layout.add(&format!("{} cast", info.name), &info.shape, dtype, false);
                        self.layout.forward.push(Action::Cast { from: stored, to: copy });
                        copies[value] = Some(copy);
                        copy
                    }
                };
                inputs.push(copy);
            }
            let buffers = node.wiring.buffers.iter();
            let buffers: Vec<_> =
                buffers.map(|buffer| self.layout.add(buffer.name, &buffer.shape, buffer.dtype, false)).collect();
            let outputs = node.outputs.iter().map(|&output| self.layout.values[output]).collect();
            self.layout.nodes[at] = NodeLayout { inputs, outputs, buffers, ..NodeLayout::default() };
            self.layout.forward.push(Action::Node(at));
        }
        for (at, value) in graph.values.iter().enumerate() {
            if value.watched.is_some() {
                let stored = self.layout.values[at];
                self.layout.watched.push((at, self.pre_of(at).unwrap_or(stored)));
            }
        }
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
        let alone = self.readers[value].len() == 1 && !graph.outputs.contains(&value) && info.watched.is_none();
        let alike = info.dtype == description.dtype && info.shape == description.shape;
        let read = input.kept || made.kept || made.fused.is_some_and(|fused| !fused.needs_pre());
        let cast = input.dtype.is_some_and(|dtype| dtype != info.dtype);
        // An output of the network has a buffer of its own.
        let pinned = graph.outputs.contains(&graph.nodes[node].outputs[output]);
        (alone && alike && !read && !cast && !pinned).then_some(value)
    }

    /// Lays out the backward pass from the last node to the first.
    fn backward(&mut self) -> Result<()> {
        let graph = self.graph;
        for &output in &graph.outputs {
            let info = &graph.values[output];
            let root = self.layout.add(&format!("gradient of {}", info.name), &info.shape, DType::F32, true);
            self.layout.output_grads.push(root);
            if !self.wanted[output] {
                continue;
            }
            self.borrow(output, root);
            if graph.precision.half().is_some() {
                // Gradients that other nodes give the value are added in f32.
                let dtype = match &info.output {
                    Some(made) if self.readers[output].is_empty() => made.grad,
                    _ => DType::F32,
                };
                let name = format!("scaled gradient of {}", info.name);
                let scaled = self.layout.add(&name, &info.shape, dtype, false);
                self.layout.backward.push(Action::Root { from: root, to: scaled });
                self.grads[output] = Some(Grad::Owned(scaled));
            }
        }
        let mut parts = vec![false; graph.params.len()];
        for node in (0..graph.nodes.len()).rev() {
            self.node_backward(node, &mut parts)?;
        }
        for (number, &input) in graph.inputs.iter().enumerate() {
            if let Some(grad) = self.grads[input] {
                let info = &graph.values[input];
                let storage = match grad {
                    Grad::Owned(storage) => storage,
                    Grad::Borrowed(from) => {
                        let to = self.layout.add(&format!("gradient of {}", info.name), &info.shape, DType::F32, true);
                        self.layout.backward.push(Action::Copy { from, to });
                        to
                    }
                };
                // A caller reads it after the pass.
                self.layout.storages[storage.0].pinned = true;
                self.layout.input_grads[number] = Some(storage);
            } else if self.wanted[input] {
                let found = format!("{}, from which no path leads to an output", graph.values[input].name);
                return Err(Error::argument("graph", "input", "with a gradient", found));
            }
        }
        Ok(())
    }

    fn node_backward(&mut self, node: usize, parts: &mut [bool]) -> Result<()> {
        let graph = self.graph;
        let entry = &graph.nodes[node];
        if entry.outputs.iter().all(|&output| self.grads[output].is_none()) {
            if entry.wiring.params.is_empty() {
                return Ok(());
            }
            let found = format!("{}, from which no path leads to an output", entry.name);
            return Err(Error::argument("graph", "node", "whose parameters have a gradient", found));
        }
        for &output in &entry.outputs {
            let grad = self.output_grad(node, output);
            self.layout.nodes[node].output_grads.push(grad);
        }
        let mut after = Vec::new();
        for (number, input) in entry.wiring.inputs.iter().enumerate() {
            let value = input.value.index;
            let target = match input.differentiable && self.wanted[value] {
                true if input.passes => {
                    self.pass_on(node, value, &mut after);
                    None
                }
                true => Some(self.target(node, number, value, &mut after)),
                false => None,
            };
            self.layout.nodes[node].input_grads.push(target);
        }
        for param in &entry.wiring.params {
            let first = !std::mem::replace(&mut parts[param.0], true);
            let part = self.layout.is_shared(*param) && !first;
            self.layout.nodes[node].weight_grads.push(if part { WeightGrad::Part } else { WeightGrad::Only });
        }
        self.layout.backward.push(Action::Node(node));
        self.layout.backward.append(&mut after);
        Ok(())
    }

    /// The gradient of an output as its node reads it: there, through the fused activation, and of the type that is asked for.
    fn output_grad(&mut self, node: usize, output: usize) -> StorageId {
        let graph = self.graph;
        let info = &graph.values[output];
        let Some(description) = &info.output else { return self.layout.values[output] };
        let name = format!("gradient of {}", info.name);
        let add = |layout: &mut Layout, dtype| layout.add(&name, &info.shape, dtype, false);
        let mut grad = match self.grads[output].map(Grad::storage) {
            Some(grad) => grad,
            None => {
                let zero = add(&mut self.layout, DType::F32);
                self.layout.backward.push(Action::Zero(zero));
                zero
            }
        };
        if self.layout.storage(grad).dtype != description.grad {
            let cast = add(&mut self.layout, description.grad);
            self.layout.backward.push(Action::Cast { from: grad, to: cast });
            grad = cast;
        }
        if description.fused.is_some() && !self.through[output] {
            let through = add(&mut self.layout, description.grad);
            let number = graph.nodes[node].outputs.iter().position(|&other| other == output).unwrap_or(0);
            self.layout.backward.push(Action::Activation { origin: (node, number), from: grad, to: through });
            grad = through;
        }
        grad
    }

    /// Where a node writes the gradient of an input, and what makes it the value's whole gradient so far.
    fn target(&mut self, node: usize, number: usize, value: usize, after: &mut Vec<Action>) -> Target {
        let graph = self.graph;
        let info = &graph.values[value];
        let input = &graph.nodes[node].wiring.inputs[number];
        let name = format!("gradient of {}", info.name);
        let Some(before) = self.grads[value] else {
            let fused = self.fused_origin(value, input.fuses);
            let dtype = match (fused, &info.output) {
                (Some(_), Some(output)) => output.grad,
                _ => DType::F32,
            };
            let storage = self.layout.add(&name, &info.shape, dtype, false);
            self.grads[value] = Some(Grad::Owned(storage));
            self.through[value] = fused.is_some();
            return Target { storage, add: false, fused };
        };
        let storage = before.storage();
        let is_read = self.layout.nodes[node].output_grads.contains(&storage);
        if input.accumulates && !is_read && self.is_exclusive(before, value, node) {
            self.grads[value] = Some(Grad::Owned(storage));
            return Target { storage, add: true, fused: None };
        }
        let sum = self.layout.add(&name, &info.shape, DType::F32, false);
        after.push(Action::Add { from: storage, to: sum });
        self.grads[value] = Some(Grad::Owned(sum));
        Target { storage: sum, add: false, fused: None }
    }

    /// The gradient of the node's output becomes that of an input, or is added to it.
    fn pass_on(&mut self, node: usize, value: usize, after: &mut Vec<Action>) {
        let passed = self.layout.nodes[node].output_grads[0];
        let Some(before) = self.grads[value] else {
            self.borrow(value, passed);
            return;
        };
        let (mut sum, info) = (before.storage(), &self.graph.values[value]);
        if let Grad::Borrowed(before) = before {
            sum = self.layout.add(&format!("gradient of {}", info.name), &info.shape, DType::F32, false);
            after.push(Action::Copy { from: before, to: sum });
        }
        after.push(Action::Add { from: passed, to: sum });
        self.grads[value] = Some(Grad::Owned(sum));
    }

    /// Gives a value the gradient in a storage that others have, too.
    fn borrow(&mut self, value: usize, storage: StorageId) {
        self.grads[value] = Some(Grad::Borrowed(storage));
        self.borrowers.entry(storage).or_default().push(value);
    }

    /// Whether nobody else needs what a gradient's storage holds: neither the caller nor a value whose node is still to come.
    fn is_exclusive(&self, grad: Grad, value: usize, node: usize) -> bool {
        let storage = match grad {
            Grad::Owned(_) => return true,
            Grad::Borrowed(storage) => storage,
        };
        let pending = |other: usize| match self.graph.values[other].origin {
            Origin::Node { node: maker, .. } => maker < node,
            _ => true,
        };
        let mut others = self.borrowers.get(&storage).into_iter().flatten();
        !self.layout.storage(storage).pinned && !others.any(|&other| other != value && pending(other))
    }

    /// Node and output of a value whose fused activation its one reader can apply the derivative of.
    fn fused_origin(&self, value: usize, fuses: bool) -> Option<(usize, usize)> {
        let info = &self.graph.values[value];
        let Origin::Node { node, output } = info.origin else { return None };
        let alone = self.readers[value].len() == 1 && !self.graph.outputs.contains(&value);
        (fuses && alone && info.output.as_ref()?.fused.is_some()).then_some((node, output))
    }

    /// Finds the first and the last action of each storage.
    fn measure(&mut self) {
        let actions: Vec<Action> =
            self.layout.forward.iter().chain(&self.layout.backward).cloned().collect();
        let forward = self.layout.forward.len();
        let end = actions.len();
        for (at, action) in actions.into_iter().enumerate() {
            let mut touched = Vec::new();
            match action {
                Action::Node(node) if at < forward => self.touch_forward(node, &mut touched),
                Action::Node(node) => self.touch_backward(node, &mut touched),
                Action::Cast { from, to }
                | Action::Root { from, to }
                | Action::Add { from, to }
                | Action::Copy { from, to } => {
                    touched.extend([from, to]);
                }
                Action::Zero(storage) => touched.push(storage),
                Action::Activation { origin, from, to } => touched.extend([from, to, self.activated(origin)]),
            }
            for storage in touched {
                let live = &mut self.layout.storages[storage.0].live;
                *live = Some(live.map_or((at, at), |(first, _)| (first, at)));
            }
        }
        for (_, storage) in self.layout.watched.clone() {
            let live = &mut self.layout.storages[storage.0].live;
            *live = live.map(|(first, _)| (first, end));
        }
    }

    /// Pre-activation of a fused activation, or its output where that is enough.
    fn activated(&self, (node, output): (usize, usize)) -> StorageId {
        let value = self.graph.nodes[node].outputs[output];
        let fused = self.graph.nodes[node].wiring.outputs[output].fused;
        let pre = fused.filter(Fused::needs_pre).and_then(|_| self.pre_of(value));
        pre.unwrap_or(self.layout.values[value])
    }

    fn touch_forward(&self, node: usize, touched: &mut Vec<StorageId>) {
        let (layout, wiring) = (&self.layout.nodes[node], &self.graph.nodes[node].wiring);
        touched.extend(layout.inputs.iter().chain(&layout.outputs));
        let buffers = layout.buffers.iter().zip(&wiring.buffers);
        touched.extend(buffers.filter(|(_, buffer)| !buffer.backward_only).map(|(&storage, _)| storage));
    }

    fn touch_backward(&self, node: usize, touched: &mut Vec<StorageId>) {
        let (layout, wiring) = (&self.layout.nodes[node], &self.graph.nodes[node].wiring);
        let inputs = layout.inputs.iter().zip(&wiring.inputs);
        touched.extend(inputs.filter(|(_, input)| input.kept).map(|(&storage, _)| storage));
        let outputs = layout.outputs.iter().zip(&wiring.outputs);
        touched.extend(outputs.filter(|(_, output)| output.kept || output.shown).map(|(&storage, _)| storage));
        touched.extend(&layout.buffers);
        touched.extend(&layout.output_grads);
        for target in layout.input_grads.iter().flatten() {
            touched.push(target.storage);
            touched.extend(target.fused.map(|origin| self.activated(origin)));
        }
    }
}

impl Layout {
    /// Storage of a fused activation's input, or of its output where that is enough.
    pub(super) fn activated(&self, graph: &Graph, (node, output): (usize, usize)) -> StorageId {
        let wiring = &graph.nodes[node].wiring;
        let fused = wiring.outputs[output].fused.filter(Fused::needs_pre);
        let pre = fused.and_then(|_| wiring.buffers.iter().position(|buffer| buffer.name == PRE));
        pre.map_or(self.nodes[node].outputs[output], |at| self.nodes[node].buffers[at])
    }
}
