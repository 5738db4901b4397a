//! Schedule: parts of a step, each with a loss of its own, and the nodes of their forward and backward passes.
//!
//! A part's forward pass computes what its head needs and no part before computed. Its backward pass has the nodes that its loss reaches
//! and no later loss does, so that their gradients are complete. A network without heads is one part.

use super::build::Graph;
use super::value::Origin;

/// Backward pass of a node: whole, or in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Gradients of inputs and of parameters.
    Whole(usize),
    /// Gradients of inputs: the losses that reach further than the node are complete.
    Inputs(usize),
    /// Gradients of parameters: all losses that reach the node are complete.
    Params(usize),
}

/// Nodes of a part, in the order of each pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) forward: Vec<usize>,
    pub(super) backward: Vec<Way>,
}

/// The parts of a graph.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    pub(super) parts: Vec<Part>,
    /// Part whose forward pass has each node.
    pub(super) part_of: Vec<usize>,
}

impl Schedule {
    pub(super) fn of(graph: &Graph) -> Self {
        let nodes = graph.nodes.len();
        let heads = graph.heads.iter().map(|&head| vec![head]);
        let losses: Vec<Vec<usize>> = heads.chain([graph.outputs.clone()]).collect();
        let last = losses.len() - 1;
        let mut part_of = vec![last; nodes];
        for (part, of) in losses[..last].iter().enumerate().rev() {
            // In reverse, so that the first part that needs a node has it.
            let needed = graph.needed(of).into_iter().enumerate().filter(|(_, needed)| *needed);
            needed.for_each(|(node, _)| part_of[node] = part);
        }
        let mut parts = vec![Part::default(); losses.len()];
        part_of.iter().enumerate().for_each(|(node, &part)| parts[part].forward.push(node));
        let order: Vec<usize> = parts.iter().flat_map(|part| part.forward.clone()).collect();
        // The last loss that reaches each node, and the last that reaches its parameters alone.
        let (mut whole, mut params) = (vec![None; nodes], vec![None; nodes]);
        for (part, of) in losses.iter().enumerate() {
            graph.reach(of, part, &mut whole, &mut params);
        }
        for &node in order.iter().rev() {
            let Some(beyond) = params[node] else {
                parts[whole[node].unwrap_or(last)].backward.push(Way::Whole(node));
                continue;
            };
            if let Some(part) = whole[node] {
                parts[part].backward.push(Way::Inputs(node));
            }
            parts[whole[node].map_or(beyond, |part| beyond.max(part))].backward.push(Way::Params(node));
        }
        Self { parts, part_of }
    }
}

impl Graph {
    /// Whether each node is needed to compute these values.
    fn needed(&self, values: &[usize]) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        let mut next = values.to_vec();
        while let Some(value) = next.pop() {
            let Origin::Node { node, .. } = self.values[self.stored(value)].origin else { continue };
            if !std::mem::replace(&mut needed[node], true) {
                next.extend(self.nodes[node].wiring.inputs.iter().map(|input| input.value.index));
            }
        }
        needed
    }

    /// Marks the nodes that the gradients of these values reach.
    fn reach(
        &self,
        values: &[usize],
        part: usize,
        whole: &mut [Option<usize>],
        params: &mut [Option<usize>],
    ) {
        let mut next = values.to_vec();
        while let Some(value) = next.pop() {
            match self.values[value].origin {
                Origin::Node { node, .. } if whole[node] != Some(part) => {
                    whole[node] = Some(part);
                    let inputs = self.nodes[node].wiring.inputs.iter().filter(|input| input.differentiable);
                    next.extend(inputs.map(|input| input.value.index));
                }
                Origin::Shallow(of) => {
                    if let Origin::Node { node, .. } = self.values[of].origin {
                        params[node] = Some(part);
                    }
                }
                Origin::Node { .. } | Origin::Detached(_) | Origin::Input { .. } => {}
            }
        }
    }

    /// Whether each node is needed by heads alone.
    pub(super) fn head_nodes(&self) -> Vec<bool> {
        match self.heads.is_empty() {
            true => vec![false; self.nodes.len()],
            false => self.needed(&self.outputs).into_iter().map(|needed| !needed).collect(),
        }
    }

    /// Whether each parameter is of heads alone.
    pub(super) fn head_params(&self) -> Vec<bool> {
        let mut of_heads = vec![!self.heads.is_empty(); self.params.len()];
        for (entry, _) in self.nodes.iter().zip(self.head_nodes()).filter(|(_, is_head)| !is_head) {
            entry.wiring.params.iter().for_each(|param| of_heads[param.index()] = false);
        }
        of_heads
    }
}
