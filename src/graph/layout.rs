//! Layout: the order of everything that a step records, and the memory of every value and gradient by liveness.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::spec::ParamId;
use super::wiring::Fused;
use crate::gpu::DType;

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
    pub(super) live: Option<(usize, usize)>,
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
    /// A node's forward pass once more, within the backward pass.
    Again(usize),
    /// Gradients of a node's inputs, ahead of those of its parameters.
    Inputs(usize),
    /// The loss of a head, which whoever trains the network records between the two passes of a part.
    Loss { output: StorageId, grad: StorageId },
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
    Activation { through: Through, from: StorageId, to: StorageId },
}

/// A fused activation that a gradient is taken through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Through {
    pub(super) fused: Fused,
    /// The activation's input, or its output where that is enough.
    pub(super) at: StorageId,
}

/// Where the gradient of an input goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Target {
    pub(super) storage: StorageId,
    pub(super) add: bool,
    /// The fused activation whose derivative the writer applies.
    pub(super) through: Option<Through>,
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

/// Actions of one part of a step, forward and backward. A network without heads has one part, the whole step.
#[derive(Debug, Clone, Default)]
pub(super) struct Passes {
    pub(super) forward: Vec<Action>,
    pub(super) backward: Vec<Action>,
}

impl Passes {
    /// Number of actions.
    pub(super) fn len(&self) -> usize {
        self.forward.len() + self.backward.len()
    }
}

/// A watched value, the storage that is scanned for it, and the part whose forward pass writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    pub(super) value: usize,
    pub(super) storage: StorageId,
    pub(super) part: usize,
}

/// The layout of a graph.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) storages: Vec<Storage>,
    pub(super) nodes: Vec<NodeLayout>,
    /// Storages of nodes in the forward pass, where the backward pass computes their values once more, into others.
    pub(super) first: Vec<Option<NodeLayout>>,
    /// Storages of nodes for the gradients of their inputs, where those of parameters come later.
    pub(super) flows: Vec<Option<NodeLayout>>,
    /// Passes of each part, in order.
    pub(super) parts: Vec<Passes>,
    /// Output and gradient of the head of each part but the last.
    pub(super) heads: Vec<[StorageId; 2]>,
    /// Nodes that heads alone need.
    pub(super) head_nodes: Vec<bool>,
    /// Storage of each value.
    pub(super) values: Vec<StorageId>,
    /// Gradient of each output, as the loss writes it.
    pub(super) output_grads: Vec<StorageId>,
    /// Gradient of each input that has one.
    pub(super) input_grads: Vec<Option<StorageId>>,
    /// Values that are scanned for NaN and infinity.
    pub(super) watched: Vec<Watched>,
    /// Bytes of each buffer that storages share.
    pub(super) shared: Vec<u64>,
    /// Parameters that several nodes share.
    pub(super) shared_params: Vec<bool>,
}

impl Layout {
    /// Whether several nodes share a parameter.
    pub(super) fn is_shared(&self, param: ParamId) -> bool {
        self.shared_params[param.0]
    }

    pub(super) fn add(&mut self, name: &str, shape: &[usize], dtype: DType, pinned: bool) -> StorageId {
        let shape = shape.to_vec();
        self.storages.push(Storage { name: name.to_owned(), shape, dtype, live: None, pinned, shared: 0 });
        StorageId(self.storages.len() - 1)
    }

    pub(super) fn storage(&self, id: StorageId) -> &Storage {
        &self.storages[id.0]
    }

    /// Gives storages that are never live together the same buffers: each takes the smallest free buffer that is large enough, or
    /// enlarges the largest one.
    pub(super) fn share(&mut self) {
        let mut order: Vec<usize> = (0..self.storages.len()).collect();
        order.retain(|&at| !self.storages[at].pinned && self.storages[at].live.is_some());
        order.sort_by_key(|&at| self.storages[at].live);
        // Free buffers by size, and those in use by the last action that touches them.
        let mut free: BTreeSet<(u64, usize)> = BTreeSet::new();
        let mut busy: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
        for at in order {
            let (start, end) = self.storages[at].live.unwrap_or_default();
            let bytes = self.storages[at].bytes();
            while let Some(&Reverse((_, buffer))) = busy.peek().filter(|Reverse((until, _))| *until < start) {
                busy.pop();
                free.insert((self.shared[buffer], buffer));
            }
            let best = free.range((bytes, 0)..).next().or_else(|| free.last()).copied();
            let buffer = match best {
                Some(found) => {
                    free.remove(&found);
                    found.1
                }
                None => {
                    self.shared.push(0);
                    self.shared.len() - 1
                }
            };
            self.shared[buffer] = self.shared[buffer].max(bytes);
            self.storages[at].shared = buffer;
            busy.push(Reverse((end, buffer)));
        }
    }
}
