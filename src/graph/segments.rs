//! Recomputation: segments of a network whose values the backward pass computes once more, instead of keeping them.
//!
//! A network is cut where a single value holds all that the nodes behind it read of those before. These values are kept. The forward
//! pass forgets what lies between two of them, and the backward pass repeats it from the value before (Griewank & Walther 2000;
//! Chen et al. 2016).

use std::collections::HashSet;
use std::ops::Range;

use super::build::Graph;
use super::recompute::Recompute;
use super::value::Origin;
use super::wiring::{Buffer, Input, PRE};

/// Most parts of a segment. The least memory is near the root of their number.
const MOST: usize = 64;

/// The segments of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Segments {
    /// Nodes of each, in order.
    pub(super) spans: Vec<Range<usize>>,
    /// Values that segments begin from or end with.
    kept: HashSet<usize>,
}

impl Segments {
    /// Ways to cut a graph, of which `recompute` allows the planner to take the one with the least memory; none where there is
    /// nothing to recompute.
    pub(super) fn ways(graph: &Graph, recompute: Recompute) -> Vec<Self> {
        let parts = parts(graph);
        let most = match recompute {
            Recompute::Segments => parts.len().min(MOST),
            Recompute::All => parts.len().min(1),
        };
        (1..=most).map(|size| Self::of_parts(&parts, size)).collect()
    }

    /// Segments of `size` neighbouring parts each.
    fn of_parts(parts: &[Part], size: usize) -> Self {
        let mut segments = Self::default();
        let mut count = 0;
        let mut end = None;
        for part in parts {
            let goes_on = end == Some(part.nodes.start) && count < size;
            match segments.spans.last_mut() {
                Some(span) if goes_on => {
                    span.end = part.nodes.end;
                    count += 1;
                }
                _ => {
                    segments.kept.extend(part.from);
                    segments.spans.push(part.nodes.clone());
                    count = 1;
                }
            }
            end = Some(part.nodes.end);
        }
        let ends: HashSet<usize> = segments.spans.iter().map(|span| span.end).collect();
        segments.kept.extend(parts.iter().filter(|part| ends.contains(&part.nodes.end)).map(|part| part.to));
        segments
    }

    /// The segment of a node.
    pub(super) fn of(&self, node: usize) -> Option<usize> {
        let after = self.spans.partition_point(|span| span.start <= node);
        after.checked_sub(1).filter(|&at| self.spans[at].contains(&node))
    }

    /// Whether the value begins or ends a segment: nothing takes its place.
    pub(super) fn keeps(&self, value: usize) -> bool {
        self.kept.contains(&value)
    }

    /// Whether the backward pass computes the value once more.
    pub(super) fn repeats(&self, graph: &Graph, value: usize) -> bool {
        match graph.values[value].origin {
            Origin::Node { node, .. } => !self.keeps(value) && self.of(node).is_some(),
            _ => false,
        }
    }

    /// Whether a node of a segment keeps its [pre-activation](PRE) with its output: a reader behind the segment may apply the
    /// derivative, before the segment is computed once more.
    pub(super) fn keeps_pre(&self, graph: &Graph, node: usize) -> bool {
        graph.nodes[node].outputs.iter().any(|&value| self.keeps(value))
    }

    /// Nodes of a segment that the backward pass repeats: those that make what it reads.
    pub(super) fn repeated(&self, graph: &Graph, segment: usize) -> Vec<usize> {
        let span = self.spans[segment].clone();
        let mut read = HashSet::new();
        let mut repeated = Vec::new();
        for node in span.rev() {
            let entry = &graph.nodes[node];
            let outputs = || entry.outputs.iter().zip(&entry.wiring.outputs);
            let shows = outputs().any(|(&value, output)| {
                let by_activation = output.fused.is_some_and(|fused| !fused.needs_pre());
                let needed = read.contains(&value) || output.kept || output.shown || by_activation;
                needed && !self.keeps(value)
            });
            let fills = |buffer: &Buffer| {
                !(buffer.backward_only || buffer.name == PRE && self.keeps_pre(graph, node))
            };
            let holds = entry.wiring.buffers.iter().any(fills);
            let inputs = |kept: bool| {
                let of = move |input: &&Input| !kept || input.kept;
                entry.wiring.inputs.iter().filter(of).map(|input| graph.stored(input.value.index))
            };
            read.extend(inputs(true));
            if shows || holds {
                read.extend(inputs(false));
                repeated.push(node);
            }
        }
        repeated.reverse();
        repeated
    }
}

/// Nodes between two places where a single value holds all that is read later.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    nodes: Range<usize>,
    /// The value before, if nodes made it.
    from: Option<usize>,
    /// The value behind.
    to: usize,
}

/// Parts that can be computed once more. The last nodes are in none, since their backward pass follows at once.
fn parts(graph: &Graph) -> Vec<Part> {
    let end = graph.nodes.len();
    let mut last_read = vec![0; graph.values.len()];
    for (at, node) in graph.nodes.iter().enumerate() {
        node.wiring.inputs.iter().for_each(|input| last_read[graph.stored(input.value.index)] = at);
    }
    graph.outputs.iter().for_each(|&output| last_read[output] = end);
    // Values that nodes before a place made and nodes behind it read: their number, and the sum of their indices.
    let mut crossing = vec![(0i64, 0i64); end + 1];
    for (value, info) in graph.values.iter().enumerate() {
        let Origin::Node { node, .. } = info.origin else { continue };
        if last_read[value] > node {
            for (place, sign) in [(node + 1, 1), (last_read[value] + 1, -1)] {
                if let Some(change) = crossing.get_mut(place) {
                    *change = (change.0 + sign, change.1 + sign * value as i64);
                }
            }
        }
    }
    let mut parts = Vec::new();
    let (mut start, mut from, mut across) = (0, None, (0, 0));
    for (place, change) in crossing.into_iter().enumerate() {
        across = (across.0 + change.0, across.1 + change.1);
        if across.0 != 1 || place == end {
            continue;
        }
        let (nodes, to) = (start..place, across.1 as usize);
        if nodes.clone().all(|node| graph.nodes[node].node.repeats()) {
            parts.push(Part { nodes, from, to });
        }
        (start, from) = (place, Some(to));
    }
    parts
}
