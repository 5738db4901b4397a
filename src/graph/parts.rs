//! Passes of a network: what a step records, part by part.

use super::hook::{BackwardHook, GradientReady};
use super::layout::{Action, WeightGrad};
use super::network::Network;
use super::pass::{Backward, Forward, dropping};
use super::spec::ParamId;
use crate::gpu::{Mark, Recorder, Tensor};
use crate::ops::{self, Rounding, Step};
use crate::{Error, Result};

/// Kind of the [marks](Mark) where a parameter's gradient is complete.
pub const GRADIENT: &str = "gradient";

impl Network {
    /// Number of parts that are trained one after the other, each by a loss of its own: 1 for a graph without [heads](super::Graph::head).
    pub fn parts(&self) -> usize {
        self.memory.layout.parts.len()
    }

    /// Outputs that the loss of a part reads: its head, or, of the last part, the [outputs](Network::outputs).
    pub fn part_outputs(&self, part: usize) -> Vec<&Tensor> {
        match self.memory.layout.heads.get(part) {
            Some(&[output, _]) => vec![self.tensor(output)],
            None => self.outputs(),
        }
    }

    /// Gradients of [those](Network::part_outputs), which the loss of the part writes between its passes.
    pub fn part_output_grads(&self, part: usize) -> Vec<&Tensor> {
        match self.memory.layout.heads.get(part) {
            Some(&[_, grad]) => vec![self.tensor(grad)],
            None => self.output_grads(),
        }
    }

    /// Records the forward pass, with weights as of the last [refresh](Network::refresh), without heads. A `step` means training:
    /// dropout and gates draw for that step.
    ///
    /// # Errors
    /// As the operations.
    pub fn forward(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        (0..self.parts()).try_for_each(|part| self.predict_part(rec, part, step))
    }

    /// Records the forward pass of a part and its head, for the part's loss. Parts follow each other, each with its backward pass,
    /// since the next one takes the memory of its values.
    ///
    /// # Errors
    /// As the operations.
    pub fn forward_part(&self, rec: &mut Recorder<'_>, part: usize, step: Option<&Step>) -> Result<()> {
        self.record_forward(rec, part, step, true)
    }

    /// Records the forward pass of a part without its head. The values of the part are there until the next part is recorded.
    ///
    /// # Errors
    /// As the operations.
    pub(crate) fn predict_part(
        &self,
        rec: &mut Recorder<'_>,
        part: usize,
        step: Option<&Step>,
    ) -> Result<()> {
        self.record_forward(rec, part, step, false)
    }

    fn record_forward(
        &self,
        rec: &mut Recorder<'_>,
        part: usize,
        step: Option<&Step>,
        heads: bool,
    ) -> Result<()> {
        let layout = &self.memory.layout;
        for action in &layout.parts[part].forward {
            match action {
                Action::Node(node) if layout.head_nodes[*node] && !heads => {}
                Action::Node(node) => {
                    let mut pass = self.pass(*node, step);
                    if let Some(first) = &layout.first[*node] {
                        pass.layout = first;
                    }
                    self.graph.nodes[*node].node.forward(rec, &pass)?;
                }
                other => self.record(rec, other, step)?,
            }
        }
        Ok(())
    }

    /// Records the backward pass, from the gradients of the outputs to those of all parameters and of inputs whose gradient was
    /// asked for. With a `step`, through the draws of the forward pass.
    ///
    /// # Errors
    /// [`Error::Argument`] for a network of several [parts](Network::parts), and as the operations.
    pub fn backward(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        self.backward_with(rec, step, &mut |_, _| Ok(()))
    }

    /// Records the backward pass, and what `hook` records where a parameter's gradient is complete: the factors of the gradient
    /// are still there, and nothing later in the pass reads the parameter.
    ///
    /// # Errors
    /// The errors of [`Network::backward`], and those of `hook`.
    pub fn backward_with(
        &self,
        rec: &mut Recorder<'_>,
        step: Option<&Step>,
        hook: &mut BackwardHook<'_>,
    ) -> Result<()> {
        self.expect_one_part("backward")?;
        self.backward_part_with(rec, 0, step, hook)
    }

    /// Refuses a pass of the whole network at once, where there are several parts.
    pub(super) fn expect_one_part(&self, pass: &'static str) -> Result<()> {
        match self.parts() {
            1 => Ok(()),
            parts => {
                let wanted = "a network of one part; others are trained part by part, by forward_part and backward_part";
                Err(Error::argument("network", pass, wanted, format!("{parts} parts")))
            }
        }
    }

    /// Records the backward pass of a part, behind its forward pass and its loss: gradients that no loss of a later part reaches.
    ///
    /// # Errors
    /// As the operations.
    pub fn backward_part(&self, rec: &mut Recorder<'_>, part: usize, step: Option<&Step>) -> Result<()> {
        self.backward_part_with(rec, part, step, &mut |_, _| Ok(()))
    }

    /// Records [`Network::backward_part`], and calls `hook` for each gradient as [`Network::backward_with`] does.
    ///
    /// # Errors
    /// As the operations, and as `hook`.
    pub fn backward_part_with(
        &self,
        rec: &mut Recorder<'_>,
        part: usize,
        step: Option<&Step>,
        hook: &mut BackwardHook<'_>,
    ) -> Result<()> {
        let layout = &self.memory.layout;
        let mut left: Vec<usize> = vec![0; self.store.len()];
        for action in layout.parts[part..].iter().flat_map(|part| &part.backward) {
            if let Action::Node(node) = action {
                let params = &self.graph.nodes[*node].wiring.params;
                params.iter().for_each(|param| left[param.index()] += 1);
            }
        }
        for action in &layout.parts[part].backward {
            let &Action::Node(node) = action else {
                self.record(rec, action, step)?;
                continue;
            };
            let params = &self.graph.nodes[node].wiring.params;
            let places = &layout.nodes[node].weight_grads;
            let part = |(&param, place): (&ParamId, &WeightGrad)| {
                let weight = self.store.get(param).weight();
                (*place == WeightGrad::Part).then(|| weight.grad(rec.gpu(), "part of a gradient")).transpose()
            };
            let parts = params.iter().zip(places).map(part).collect::<Result<Vec<_>>>()?;
            let forward = self.pass(node, step);
            let mut mark = |rec: &mut Recorder<'_>, ready: GradientReady<'_>| {
                let param = self.store.get(ready.param);
                hook(rec, ready)?;
                rec.mark(Mark {
                    kind: GRADIENT,
                    name: param.name().to_owned(),
                    tensor: Some(param.grads().clone()),
                })
            };
            let mut pass = Backward { forward, grads: &parts, hook: &mut mark };
            self.graph.nodes[node].node.backward(rec, &mut pass)?;
            for (&param, part) in params.iter().zip(&parts).filter(|(param, _)| layout.is_shared(**param)) {
                if let Some(part) = part {
                    ops::blend(rec, part.values(), self.store.get(param).grads(), [1.0, 1.0])?;
                }
                left[param.index()] -= 1;
                if left[param.index()] == 0 {
                    mark(rec, GradientReady { param, signals: None })?;
                }
            }
        }
        Ok(())
    }

    /// Records the gradients of a node's inputs alone.
    fn record_inputs(&self, rec: &mut Recorder<'_>, node: usize, step: Option<&Step>) -> Result<()> {
        let Some(layout) = &self.memory.layout.flows[node] else { return Ok(()) };
        let forward = Forward { layout, ..self.pass(node, step) };
        let mut pass = Backward { forward, grads: &[], hook: &mut |_, _| Ok(()) };
        self.graph.nodes[node].node.backward(rec, &mut pass)
    }

    /// The pass of a node.
    fn pass<'a>(&'a self, node: usize, step: Option<&'a Step>) -> Forward<'a> {
        let entry = &self.graph.nodes[node];
        Forward {
            name: &entry.name,
            wiring: &entry.wiring,
            layout: &self.memory.layout.nodes[node],
            memory: &self.memory,
            store: &self.store,
            step,
        }
    }

    fn record(&self, rec: &mut Recorder<'_>, action: &Action, step: Option<&Step>) -> Result<()> {
        match *action {
            Action::Node(_) | Action::Loss { .. } => Ok(()),
            Action::Inputs(node) => self.record_inputs(rec, node, step),
            Action::Again(node) => self.graph.nodes[node].node.forward(rec, &self.pass(node, step)),
            Action::Cast { from, to } => {
                ops::convert(rec, self.tensor(from), self.tensor(to), Rounding::Nearest)
            }
            Action::Root { from, to } => {
                let (from, to) = (self.tensor(from), self.tensor(to));
                match step.and_then(Step::scale) {
                    Some(scale) => ops::scale_gradient(rec, from, to, scale),
                    None if from.dtype() == to.dtype() => ops::blend(rec, from, to, [1.0, 0.0]),
                    None => ops::convert(rec, from, to, Rounding::Nearest),
                }
            }
            Action::Add { from, to } => ops::blend(rec, self.tensor(from), self.tensor(to), [1.0, 1.0]),
            Action::Copy { from, to } => ops::blend(rec, self.tensor(from), self.tensor(to), [1.0, 0.0]),
            Action::Zero(storage) => ops::fill(rec, self.tensor(storage), 0),
            Action::Activation { through, from, to } => ops::activation_backward(
                rec,
                self.tensor(from),
                self.tensor(through.at),
                self.tensor(to),
                through.fused.activation,
                dropping(&through.fused, step),
            ),
        }
    }
}
