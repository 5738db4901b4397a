//! Twin of `shaders/activation/`, and the activation functions of the epilogues.

use crate::random::unit;
use crate::terms::{Activation, Dropout};

const GELU_1: f32 = 1.595_769;
const GELU_3: f32 = 0.071_354_81;

impl Activation {
    /// Applies the activation.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            // NaN and infinity pass through, so that they are detected.
            Self::Relu => {
                if x.is_finite() {
                    x.max(0.0)
                } else {
                    x
                }
            }
            Self::Gelu => x * sigmoid(x * (GELU_1 + GELU_3 * x * x)),
            Self::Silu => x * sigmoid(x),
            Self::AllRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
        }
    }

    /// Derivative of the activation.
    pub fn derivative(self, x: f32) -> f32 {
        match self {
            Self::Identity => 1.0,
            Self::Relu => {
                if x > 0.0 {
                    1.0
                } else {
                    0.0
                }
            }
            Self::Gelu => {
                let s = sigmoid(x * (GELU_1 + GELU_3 * x * x));
                s + x * s * (1.0 - s) * (GELU_1 + 3.0 * GELU_3 * x * x)
            }
            Self::Silu => {
                let s = sigmoid(x);
                s + x * s * (1.0 - s)
            }
            Self::AllRelu { slope } => {
                if x > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).min(80.0).exp())
}

impl Dropout {
    /// Factor of an element: 0 if dropped, else 1 / (1 - rate); 1 without dropout.
    pub fn factor(dropout: Option<(Self, u32)>, element: usize) -> f32 {
        let Some((Self { rate, key }, step)) = dropout else { return 1.0 };
        if unit(key.at([element as u32, step])[0]) < rate { 0.0 } else { 1.0 / (1.0 - rate) }
    }
}

/// Elementwise `out = dropout(activation(pre))`.
pub fn activation_forward(
    pre: &[f32],
    out: &mut [f32],
    activation: Activation,
    dropout: Option<(Dropout, u32)>,
) {
    for (i, (out, &x)) in out.iter_mut().zip(pre).enumerate() {
        *out = activation.apply(x) * Dropout::factor(dropout, i);
    }
}

/// Elementwise `out = grad * activation'(pre)` through the same dropout.
pub fn activation_backward(
    grad: &[f32],
    pre: &[f32],
    out: &mut [f32],
    activation: Activation,
    dropout: Option<(Dropout, u32)>,
) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = grad[i] * activation.derivative(pre[i]) * Dropout::factor(dropout, i);
    }
}
