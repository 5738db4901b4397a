//! Gradients: the order of the backward pass, and where each gradient is summed.

use super::layout::{Action, Layout, StorageId, Target, Through, WeightGrad};
use super::planner::{Grad, Planner};
use super::value::Origin;
use crate::gpu::DType;
use crate::{Error, Result};

impl Planner<'_> {
    /// Lays out the backward pass from the last node to the first.
    pub(super) fn backward(&mut self) -> Result<()> {
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
            if let Some(segment) = self.segments.of(node)
                && self.segments.spans[segment].end == node + 1
            {
                self.layout.backward.append(&mut self.again[segment]);
            }
            self.node_backward(node, &mut parts)?;
        }
        for (number, &input) in graph.inputs.iter().enumerate() {
            if let Some(grad) = self.grads[input] {
                let info = &graph.values[input];
                let storage = match grad {
                    Grad::Owned(storage) => storage,
                    Grad::Borrowed(from) => {
                        let name = format!("gradient of {}", info.name);
                        let to = self.layout.add(&name, &info.shape, DType::F32, true);
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
        let number = graph.nodes[node].outputs.iter().position(|&other| other == output).unwrap_or(0);
        if let (Some(through), false) = (self.through(node, number), self.taken_through[output]) {
            let to = add(&mut self.layout, description.grad);
            self.layout.backward.push(Action::Activation { through, from: grad, to });
            grad = to;
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
        let is_read = self.layout.nodes[node].output_grads.contains(&storage);
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

    /// A value's fused activation whose derivative the value's one reader can apply.
    fn fused_into_reader(&self, value: usize, fuses: bool) -> Option<Through> {
        let Origin::Node { node, output } = self.graph.values[value].origin else { return None };
        let alone = self.readers[value].len() == 1 && !self.graph.outputs.contains(&value);
        if fuses && alone { self.through(node, output) } else { None }
    }
}
