//! Gradients: the order of the backward pass, and where each gradient is summed.

use super::layout::{Action, Layout, NodeLayout, StorageId, Target, Through, WeightGrad};
use super::planner::{Grad, Planner};
use super::schedule::Way;
use super::spec::ParamId;
use super::value::Origin;
use crate::gpu::DType;
use crate::{Error, Result};

impl Planner<'_> {
    /// Lays out the backward pass of each part from the last node to the first.
    pub(super) fn backward(&mut self) -> Result<()> {
        let graph = self.graph;
        let mut written = vec![false; graph.params.len()];
        for part in 0..self.schedule.parts.len() {
            self.roots(part);
            for way in self.schedule.parts[part].backward.clone() {
                match way {
                    Way::Whole(node) => self.node_backward(node, &mut written)?,
                    Way::Inputs(node) => self.inputs_backward(node),
                    Way::Params(node) => self.params_backward(node, &mut written),
                }
            }
            self.layout.parts[part].backward = std::mem::take(&mut self.actions);
        }
        for (number, &input) in graph.inputs.iter().enumerate() {
            if let Some(grad) = self.grads[input] {
                let info = &graph.values[input];
                let storage = match grad {
                    Grad::Owned(storage) => storage,
                    Grad::Borrowed(from) => {
                        let name = format!("gradient of {}", info.name);
                        let to = self.layout.add(&name, &info.shape, DType::F32, true);
                        let last = self.layout.parts.last_mut();
                        last.into_iter().for_each(|last| last.backward.push(Action::Copy { from, to }));
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

    /// Gradients that the losses of a part leave: that of its head, or those of the outputs.
    fn roots(&mut self, part: usize) {
        let graph = self.graph;
        if let Some(&[_, root]) = self.layout.heads.get(part) {
            self.root(graph.heads[part], root);
            return;
        }
        for &output in &graph.outputs {
            let info = &graph.values[output];
            let root = self.layout.add(&format!("gradient of {}", info.name), &info.shape, DType::F32, true);
            self.layout.output_grads.push(root);
            self.root(output, root);
        }
    }

    /// Begins the gradient of an output with what the loss left, scaled in half precision.
    fn root(&mut self, output: usize, root: StorageId) {
        let graph = self.graph;
        let info = &graph.values[output];
        if !self.wanted[output] {
            return;
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
            self.actions.push(Action::Root { from: root, to: scaled });
            self.grads[output] = Some(Grad::Owned(scaled));
        }
    }

    fn node_backward(&mut self, node: usize, written: &mut [bool]) -> Result<()> {
        let graph = self.graph;
        if let Some(segment) = self.segments.of(node)
            && self.segments.spans[segment].end == node + 1
        {
            self.actions.append(&mut self.again[segment]);
        }
        let entry = &graph.nodes[node];
        if entry.outputs.iter().all(|&output| self.grads[output].is_none()) {
            if entry.wiring.params.is_empty() {
                return Ok(());
            }
            let found = format!("{}, from which no path leads to an output", entry.name);
            return Err(Error::argument("graph", "node", "whose parameters have a gradient", found));
        }
        let grads = self.output_grads(node);
        let (targets, mut after) = self.targets(node, &grads);
        let weight_grads = self.weight_grads(node, written);
        let layout = &mut self.layout.nodes[node];
        (layout.output_grads, layout.input_grads, layout.weight_grads) = (grads, targets, weight_grads);
        self.actions.push(Action::Node(node));
        self.actions.append(&mut after);
        Ok(())
    }

    /// Lays out the gradients of a node's inputs, from the losses that reach further than the node. Nothing of it is there for a node
    /// that reads inputs of the network alone.
    fn inputs_backward(&mut self, node: usize) {
        let inputs = &self.graph.nodes[node].wiring.inputs;
        if !inputs.iter().any(|input| input.differentiable && self.wanted[input.value.index]) {
            return;
        }
        let output_grads = self.output_grads(node);
        let (input_grads, mut after) = self.targets(node, &output_grads);
        let flow = NodeLayout { output_grads, input_grads, ..self.layout.nodes[node].clone() };
        self.layout.flows[node] = Some(flow);
        self.actions.push(Action::Inputs(node));
        self.actions.append(&mut after);
    }

    /// Lays out the gradients of a node's parameters, from all losses that reach them: the sum of the gradients of its outputs.
    fn params_backward(&mut self, node: usize, written: &mut [bool]) {
        let graph = self.graph;
        for &output in &graph.nodes[node].outputs {
            self.grads[output] = self.sum_of_views(output);
        }
        let output_grads = self.output_grads(node);
        let weight_grads = self.weight_grads(node, written);
        let input_grads = vec![None; graph.nodes[node].wiring.inputs.len()];
        let layout = &mut self.layout.nodes[node];
        (layout.output_grads, layout.input_grads, layout.weight_grads) =
            (output_grads, input_grads, weight_grads);
        self.actions.push(Action::Node(node));
    }

    /// Sum of the gradients of a value and of those that stop behind its node. Nothing reads them one by one any more.
    fn sum_of_views(&mut self, value: usize) -> Option<Grad> {
        let graph = self.graph;
        let views = graph.values.iter().enumerate();
        let views = views.filter(|(_, info)| matches!(info.origin, Origin::Shallow(of) if of == value));
        let values = [value].into_iter().chain(views.map(|(view, _)| view));
        let mut grads: Vec<Grad> = values.filter_map(|value| self.grads[value]).collect();
        if grads.len() < 2 {
            return grads.pop();
        }
        let owned = grads.iter().position(|grad| matches!(grad, Grad::Owned(_)));
        let first = grads.swap_remove(owned.unwrap_or(0));
        let sum = match first {
            Grad::Owned(sum) => sum,
            Grad::Borrowed(from) => {
                let info = &graph.values[value];
                let name = format!("gradient of {}", info.name);
                let sum = self.layout.add(&name, &info.shape, DType::F32, false);
                self.actions.push(Action::Copy { from, to: sum });
                sum
            }
        };
        grads.into_iter().for_each(|grad| self.actions.push(Action::Add { from: grad.storage(), to: sum }));
        Some(Grad::Owned(sum))
    }

    /// Gradients of a node's outputs as the node reads them.
    fn output_grads(&mut self, node: usize) -> Vec<StorageId> {
        let outputs = &self.graph.nodes[node].outputs;
        outputs.iter().map(|&output| self.output_grad(node, output)).collect()
    }

    /// Where a node writes the gradient of each input, and what follows.
    fn targets(&mut self, node: usize, reads: &[StorageId]) -> (Vec<Option<Target>>, Vec<Action>) {
        let mut after = Vec::new();
        let mut targets = Vec::new();
        for (number, input) in self.graph.nodes[node].wiring.inputs.iter().enumerate() {
            let value = input.value.index;
            targets.push(match input.differentiable && self.wanted[value] {
                true if input.passes => {
                    self.pass_on(reads[0], value, &mut after);
                    None
                }
                true => Some(self.target(node, number, reads, &mut after)),
                false => None,
            });
        }
        (targets, after)
    }

    /// Where the gradients of a node's parameters go.
    fn weight_grads(&self, node: usize, written: &mut [bool]) -> Vec<WeightGrad> {
        let place = |param: &ParamId| {
            let first = !std::mem::replace(&mut written[param.0], true);
            let part = self.layout.is_shared(*param) && !first;
            if part { WeightGrad::Part } else { WeightGrad::Only }
        };
        self.graph.nodes[node].wiring.params.iter().map(place).collect()
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
                self.actions.push(Action::Zero(zero));
                zero
            }
        };
        if self.layout.storage(grad).dtype != description.grad {
            let cast = add(&mut self.layout, description.grad);
            self.actions.push(Action::Cast { from: grad, to: cast });
            grad = cast;
        }
        let number = graph.nodes[node].outputs.iter().position(|&other| other == output).unwrap_or(0);
        if let (Some(through), false) = (self.through(node, number), self.taken_through[output]) {
            let to = add(&mut self.layout, description.grad);
            self.actions.push(Action::Activation { through, from: grad, to });
            grad = to;
        }
        grad
    }

    /// Where a node writes the gradient of an input, and what makes it the value's whole gradient so far.
    fn target(&mut self, node: usize, number: usize, reads: &[StorageId], after: &mut Vec<Action>) -> Target {
        let graph = self.graph;
        let input = &graph.nodes[node].wiring.inputs[number];
        let value = input.value.index;
        let info = &graph.values[value];
        let name = format!("gradient of {}", info.name);
        let Some(before) = self.grads[value] else {
            let through = self.fused_into_reader(value, input.fuses);
            let dtype = match (through, &info.output) {
                (Some(_), Some(output)) => output.grad,
                _ => DType::F32,
            };
            let storage = self.layout.add(&name, &info.shape, dtype, false);
            self.grads[value] = Some(Grad::Owned(storage));
            self.taken_through[value] = through.is_some();
            return Target { storage, add: false, through };
        };
        let storage = before.storage();
        let is_read = reads.contains(&storage);
        if input.accumulates && !is_read && self.is_exclusive(before, value, node) {
            self.grads[value] = Some(Grad::Owned(storage));
            return Target { storage, add: true, through: None };
        }
        let sum = self.layout.add(&name, &info.shape, DType::F32, false);
        after.push(Action::Add { from: storage, to: sum });
        self.grads[value] = Some(Grad::Owned(sum));
        Target { storage: sum, add: false, through: None }
    }

    /// The gradient of the node's output becomes that of an input, or is added to it.
    fn pass_on(&mut self, passed: StorageId, value: usize, after: &mut Vec<Action>) {
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
    fn is_exclusive(&mut self, grad: Grad, value: usize, node: usize) -> bool {
        let storage = match grad {
            Grad::Owned(_) => return true,
            Grad::Borrowed(storage) => storage,
        };
        let values = &self.graph.values;
        let pending = |other: usize| match values[other].origin {
            Origin::Node { node: maker, .. } => maker < node,
            _ => true,
        };
        // All values of a residual stream share one storage. Those whose nodes are done are forgotten, or deep networks would take a
        // time that is quadratic in their depth.
        let borrowers = self.borrowers.entry(storage).or_default();
        borrowers.retain(|&other| pending(other));
        !self.layout.storage(storage).pinned && borrowers.iter().all(|&other| other == value)
    }

    /// A value's fused activation whose derivative the one reader that gives the value a gradient can apply.
    fn fused_into_reader(&self, value: usize, fuses: bool) -> Option<Through> {
        let Origin::Node { node, output } = self.graph.values[value].origin else { return None };
        // A reader of the detached value gives no gradient.
        let gives = |&&(reader, number): &&(usize, usize)| {
            let read = self.graph.nodes[reader].wiring.inputs[number].value.index;
            !matches!(self.graph.values[read].origin, Origin::Detached(_))
        };
        let alone = self.readers[value].iter().filter(gives).count() == 1 && !self.graph.is_output(value);
        if fuses && alone { self.through(node, output) } else { None }
    }
}
