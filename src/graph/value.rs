//! Values: edges of a graph.

use std::fmt;

/// An edge of a graph: one of its inputs, or an output of one of its nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    pub(super) graph: u64,
    pub(super) index: usize,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.index)
    }
}

/// Origin of a value.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// An input of the graph; `gradient` asks for its gradient.
    Input { gradient: bool },
    /// Output number `output` of node `node`.
    Node { node: usize, output: usize },
    /// The elements of another value, without its gradient.
    Detached(usize),
    /// The elements of another value, whose gradient reaches the parameters of the node that made it, and no node before.
    Shallow(usize),
}

/// Units (neurons) that the columns of a value stand for. Matrices that write and read the same units are drawn so that none of
/// them is written and not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// Units of this value.
    Own,
    /// Units of another value, as behind a norm.
    Of(Value),
    /// Units that are written and read in any case, as those of a residual stream.
    Always,
}
