//! One description of a network: parameters, values and nodes. Forward and backward passes are recorded from it, and memory is
//! planned by liveness.

mod arena;
mod build;
mod bytes;
mod description;
mod extent;
mod gradients;
mod hook;
mod layout;
mod memory;
mod network;
mod node;
mod own;
mod param;
mod parts;
mod pass;
mod planner;
mod precision;
mod query;
mod recompute;
mod schedule;
mod segments;
mod spec;
mod store;
mod topology;
mod value;
mod verify;
mod wiring;

pub use arena::Span;
pub use build::Graph;
pub(crate) use bytes::Sum;
pub use bytes::{BlockSize, ParamSize, StepMemory};
pub use description::{Description, InputDescription, NodeDescription, ParamDescription};
pub use extent::Extent;
pub use hook::{BackwardHook, GradientReady, Signals};
pub use network::{Network, Start};
pub use node::{Load, Node};
pub use own::LayerSparsity;
pub use param::{Param, Weight};
pub use parts::GRADIENT;
pub use pass::{Backward, Forward, GradTarget};
pub use precision::{Half, Precision};
pub use recompute::Recompute;
pub use spec::{Blocks, FanIn, Init, ParamId, ParamSpec, Side, blocks};
pub use store::ParamStore;
pub use value::{Units, Value};
pub use wiring::{Buffer, Fused, Input, Output, PRE, Wiring};

/// A matrix of a graph, in the words of checkpoints and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Name, as PyTorch would have it: `layers.0`.
    pub name: String,
    /// Sides of the weight, `[out, in]`.
    pub sides: [usize; 2],
    /// Side of a block; `None` for a dense weight.
    pub block: Option<usize>,
    /// Whether a bias follows.
    pub bias: bool,
    /// Numbers of the units that rows and columns stand for: matrices that write and read the same units share one. `None` for
    /// units that are written and read in any case.
    pub units: [Option<usize>; 2],
}
