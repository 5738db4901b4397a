//! Activation functions.

use std::fmt;
use std::str::FromStr;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The published code alternates -0.6, +0.6, -0.6 from the first hidden layer on.
    #[test]
    fn all_relu_alternates_from_the_first_hidden_layer() {
        let activation: Activation = "all-relu:0.6".parse().unwrap();
        let slopes = [-0.6, 0.6, -0.6].map(|slope| Activation::AllRelu { slope });
        assert_eq!([0, 1, 2].map(|layer| activation.at_layer(layer)), slopes);
        assert_eq!(Activation::Relu.at_layer(0), Activation::Relu);
    }
}
