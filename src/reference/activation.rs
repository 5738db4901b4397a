//! Twin of `shaders/activation/`, and the activation functions of the epilogues.

use std::fmt;
use std::str::FromStr;

use crate::random::{Key, unit};
use crate::{Error, Result};

/// Activation function between two layers.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Activation {
    /// x
    Identity,
    /// max(x, 0); the derivative at 0 is 0.
    Relu,
    /// GELU in its tanh form: `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    Gelu,
    /// x * sigmoid(x), also called swish.
    Silu,
    /// All-ReLU (Curci et al. 2021): x where positive, else `slope * x`. The sign of the slope alternates from layer to
    /// layer, see [`Activation::at_layer`].
    AllRelu {
        /// The factor on the negative side.
        slope: f32,
    },
}

const GELU_1: f32 = 1.595_769;
const GELU_3: f32 = 0.071_354_81;

impl Activation {
    /// Activation after hidden layer `layer`, counted from 0. All-ReLU alternates the sign of its slope from layer to
    /// layer, starting with the negated one, which maps -1 to `slope`; other activations do not depend on the layer.
    #[must_use]
    pub fn at_layer(self, layer: usize) -> Self {
        match self {
            Self::AllRelu { slope } if layer.is_multiple_of(2) => Self::AllRelu { slope: -slope },
            other => other,
        }
    }

    /// Whether the sign of the output, with or without dropout, determines the derivative: it equals the sign of the
    /// pre-activation, or the derivative is constant.
    pub fn shows_in_output(self) -> bool {
        match self {
            Self::Identity | Self::Relu => true,
            Self::Gelu | Self::Silu => false,
            Self::AllRelu { slope } => slope >= 0.0,
        }
    }

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

impl FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |reason| Error::Config { option: "activation", reason };
        match text {
            "relu" => Ok(Self::Relu),
            "gelu" => Ok(Self::Gelu),
            "silu" => Ok(Self::Silu),
            _ => match text.strip_prefix("all-relu:").map(str::parse::<f32>) {
                Some(Ok(slope)) if slope.is_finite() => Ok(Self::AllRelu { slope }),
                Some(_) => Err(bad(format!("{text:?} has no number behind the colon"))),
                None => Err(bad(format!("{text:?} is none of relu, gelu, silu, all-relu:SLOPE"))),
            },
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Relu => f.write_str("relu"),
            Self::Gelu => f.write_str("gelu"),
            Self::Silu => f.write_str("silu"),
            Self::AllRelu { slope } => write!(f, "all-relu:{slope}"),
        }
    }
}

/// Dropout whose mask is a function of key, step and element index, and is never stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability of dropping an element, in `[0, 1)`.
    pub rate: f32,
    /// The layer's key.
    pub key: Key,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The published code alternates -0.6, +0.6, -0.6 from the first hidden layer on.
    #[test]
    fn all_relu_alternates_from_the_first_hidden_layer() {
        let activation: Activation = "all-relu:0.6".parse().unwrap();
        assert_eq!([0, 1, 2].map(|layer| activation.at_layer(layer).apply(-1.0)), [0.6, -0.6, 0.6]);
        assert_eq!(activation.at_layer(0).apply(2.0), 2.0);
        assert_eq!(Activation::Relu.at_layer(0), Activation::Relu);
    }
}
