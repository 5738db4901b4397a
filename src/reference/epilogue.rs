//! Twin of `shaders/common/epilogue.wgsl`.

use super::activation::{Activation, Dropout};

/// What a matmul does to its elements on their way out.
#[derive(Debug)]
pub enum Epilogue<'a> {
    /// Nothing.
    None,
    /// `out = sum + bias`.
    Bias(&'a [f32]),
    /// `pre = sum + bias`, `out = dropout(activation(pre))`.
    Forward {
        /// `[n]`.
        bias: &'a [f32],
        /// What is applied.
        activation: Activation,
        /// What is dropped, and the step.
        dropout: Option<(Dropout, u32)>,
        /// `[m, n]`, written.
        pre: &'a mut [f32],
    },
    /// `out = sum * activation'(pre)`, through the same dropout.
    Backward {
        /// `[m, n]`.
        pre: &'a [f32],
        /// What was applied.
        activation: Activation,
        /// What was dropped, and the step.
        dropout: Option<(Dropout, u32)>,
    },
}

impl Epilogue<'_> {
    pub(super) fn apply(&mut self, sum: f32, element: usize, column: usize) -> f32 {
        match self {
            Self::None => sum,
            Self::Bias(bias) => sum + bias[column],
            Self::Forward { bias, activation, dropout, pre } => {
                let x = sum + bias[column];
                pre[element] = x;
                activation.apply(x) * Dropout::factor(*dropout, element)
            }
            Self::Backward { pre, activation, dropout } => {
                sum * (activation.derivative(pre[element]) * Dropout::factor(*dropout, element))
            }
        }
    }
}
