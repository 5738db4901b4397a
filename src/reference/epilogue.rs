//! Twin of `shaders/common/epilogue.wgsl`.

use crate::terms::{Activation, Dropout};

/// Elementwise operation on a product before it is stored.
#[derive(Debug)]
pub enum Epilogue<'a> {
    /// None: stores the product.
    None,
    /// `out = sum + bias`.
    Bias(&'a [f32]),
    /// `pre = sum + bias`, `out = dropout(activation(pre))`.
    Forward {
        /// Bias, `[n]`.
        bias: &'a [f32],
        /// Activation function.
        activation: Activation,
        /// Dropout behind the activation, and the step.
        dropout: Option<(Dropout, u32)>,
        /// Out: pre-activation, `[m, n]`.
        pre: &'a mut [f32],
    },
    /// `out = sum * activation'(pre)` through the same dropout.
    Backward {
        /// Pre-activation, `[m, n]`.
        pre: &'a [f32],
        /// Activation function of the forward pass.
        activation: Activation,
        /// Dropout of the forward pass, and the step.
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
