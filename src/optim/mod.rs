//! Optimizers, a file each: the state that they keep of a parameter, and the update that they record.

mod adamw;
mod kind;
mod lamb;
mod lars;
mod random_basis;
mod sgd;

use std::fmt;

use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::graph::Span;
use crate::ops::Step;

pub use crate::ops::{AdamW, Lamb, Lars, Sgd};
pub use kind::OptimizerKind;
pub use random_basis::RandomBasis;

/// An optimizer. Its state lies along the stored elements, so that the state of a sparse weight is as sparse as the weight.
pub trait Optimizer: fmt::Debug + Send {
    /// Names of the tensors of state, each in the layout of the parameter's values and 0 at first.
    fn state_names(&self) -> &'static [&'static str];

    /// Two numbers of a step that the host knows, given the number of steps that moved weights before: AdamW's bias corrections.
    /// They stand in the [`Step`].
    fn corrections(&self, _before: u32) -> [f32; 2] {
        [1.0; 2]
    }

    /// Numbers of f32 that each recording of a step allocates, for parameters of so many stored elements.
    fn scratch(&self, _elements: &[u128]) -> u128 {
        0
    }

    /// Whether every stored element moves, whatever its gradient: then patterns must stay as they are, and nothing may be padding.
    fn moves_all_elements(&self) -> bool {
        false
    }

    /// Records the update of a span's values: those of many parameters, one behind the other, or of one.
    ///
    /// # Errors
    /// As the operations.
    fn record(&self, rec: &mut Recorder<'_>, update: &Update<'_>) -> Result<()>;

    /// Records the updates of all spans of a network: one after the other, unless an optimizer looks at all of them together.
    ///
    /// # Errors
    /// As the operations.
    fn record_all(&self, rec: &mut Recorder<'_>, updates: &[Update<'_>]) -> Result<()> {
        updates.iter().try_for_each(|update| self.record(rec, update))
    }
}

/// The update of a span of parameters.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// Values, gradient and state.
    pub span: Span<'a>,
    /// First step that moved each block, counted from 1 among those that moved weights, and 0 for blocks of the start: a word per
    /// block of the span's [blocks](Span::blocks), where blocks change.
    pub born: Option<&'a Tensor>,
    /// The step, with its learning rate. Where the step has a [scale](Step::scale), gradients are divided by it, and nothing moves
    /// in a step that is skipped.
    pub step: &'a Step,
}
