//! Optimizers, a file each: the state that they keep of a parameter, and the update that they record.

mod adamw;
mod kind;
mod sgd;

use std::fmt;

use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::graph::Span;
use crate::ops::Step;

pub use crate::ops::{AdamW, Sgd};
pub use kind::OptimizerKind;

/// An optimizer: element-wise, so that the state of a sparse weight is as sparse as the weight.
pub trait Optimizer: fmt::Debug + Send {
    /// Names of the tensors of state, each in the layout of the parameter's values and 0 at first.
    fn state_names(&self) -> &'static [&'static str];

    /// Two numbers of a step that the host knows, given the number of steps that moved weights before: AdamW's bias corrections.
    /// They stand in the [`Step`].
    fn corrections(&self, _before: u32) -> [f32; 2] {
        [1.0; 2]
    }

    /// Records the update of a span's values: those of many parameters, one behind the other, or of one.
    ///
    /// # Errors
    /// As the operations.
    fn record(&self, rec: &mut Recorder<'_>, update: &Update<'_>) -> Result<()>;
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
