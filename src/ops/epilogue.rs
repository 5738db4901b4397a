//! Matmul epilogues: `shaders/common/epilogue.wgsl`.

use super::{Activation, Dropout, Step};
use crate::gpu::{Args, Key, Tensor};
use crate::{Error, Result};

/// Dropout, with the step that its draws depend on.
#[derive(Debug, Clone, Copy)]
pub struct Dropping<'a> {
    /// Rate and key.
    pub dropout: Dropout,
    /// Step whose number is part of each draw.
    pub step: &'a Step,
}

/// Elementwise operation on the product before it is stored.
#[derive(Debug, Clone, Copy)]
pub enum Epilogue<'a> {
    /// None: stores the product.
    None,
    /// `out = sum + bias`; the bias is `[n]`.
    Bias(&'a Tensor),
    /// `pre = sum + bias`, `out = dropout(activation(pre))`: a layer's forward pass.
    Forward {
        /// Bias, `[n]`.
        bias: &'a Tensor,
        /// Activation function.
        activation: Activation,
        /// Dropout behind the activation.
        dropout: Option<Dropping<'a>>,
        /// `[m, n]`: receives the pre-activation, where the backward pass needs it; see
        /// [`Activation::shows_in_output`].
        pre: Option<&'a Tensor>,
    },
    /// `out = sum * activation'(pre)` through the same dropout: a layer's backward pass, where `sum` is the gradient
    /// of the layer's output.
    Backward {
        /// `[m, n]`: pre-activation of the forward pass, or its output where that [determines the
        /// derivative](Activation::shows_in_output).
        pre: &'a Tensor,
        /// Activation function of the forward pass.
        activation: Activation,
        /// Dropout of the forward pass.
        dropout: Option<Dropping<'a>>,
    },
}

impl<'a> Epilogue<'a> {
    /// Adds the epilogue's conditionals to a kernel key.
    pub(super) fn flags(&self, key: Key) -> Key {
        match self {
            Self::None => key,
            Self::Bias(_) => key.with("bias", true),
            Self::Forward { activation, dropout, pre, .. } => {
                let key = key.with("forward", true).with("pre", pre.is_some());
                with_activation(key, *activation).with("dropout", dropout.is_some())
            }
            Self::Backward { activation, dropout, .. } => {
                with_activation(key.with("backward", true), *activation).with("dropout", dropout.is_some())
            }
        }
    }

    /// Validates the epilogue's tensors against the product's shape `[m, n]`.
    pub(super) fn check(&self, op: &str, [m, n]: [usize; 2]) -> Result<()> {
        if let Self::Bias(bias) | Self::Forward { bias, .. } = self {
            bias.expect_shape(op, "bias", &[n])?;
        }
        if let Some(pre) = self.pre() {
            pre.expect_shape(op, "pre", &[m, n])?;
        }
        if let Self::Forward { dropout: Some(_), .. } | Self::Backward { dropout: Some(_), .. } = self
            && u32::try_from(m * n).is_err()
        {
            // Dropout draws are indexed with 32 bits.
            return Err(Error::argument(op, "dropout", "on fewer than 2^32 elements", m * n));
        }
        Ok(())
    }

    /// Pre-activation that the epilogue reads or writes.
    pub(super) fn pre(&self) -> Option<&'a Tensor> {
        match *self {
            Self::None | Self::Bias(_) => None,
            Self::Forward { pre, .. } => pre,
            Self::Backward { pre, .. } => Some(pre),
        }
    }

    /// This epilogue with a window of the pre-activation.
    pub(super) fn with_pre<'b>(&self, window: Option<&'b Tensor>) -> Epilogue<'b>
    where
        'a: 'b,
    {
        match (*self, window) {
            (Self::Forward { bias, activation, dropout, .. }, pre) => {
                Epilogue::Forward { bias, activation, dropout, pre }
            }
            (Self::Backward { activation, dropout, .. }, Some(pre)) => {
                Epilogue::Backward { pre, activation, dropout }
            }
            (other, _) => other,
        }
    }

    /// Binds the epilogue's tensors and parameters.
    pub(super) fn bind(&self, op: &str, mut args: Args<'a>) -> Result<Args<'a>> {
        let (mut activation, mut dropout) = (Activation::Identity, None);
        match *self {
            Self::None => {}
            Self::Bias(bias) => args = args.tensor("bias", bias),
            Self::Forward { bias, pre, activation: a, dropout: d } => {
                args = args.tensor("bias", bias);
                if let Some(pre) = pre {
                    args = args.tensor("pre", pre);
                }
                (activation, dropout) = (a, d);
            }
            Self::Backward { pre, activation: a, dropout: d } => {
                args = args.tensor("pre", pre);
                (activation, dropout) = (a, d);
            }
        }
        bind_activation(op, args, activation, dropout)
    }
}

/// Adds an activation's conditional to a kernel key.
pub(super) fn with_activation(key: Key, activation: Activation) -> Key {
    match activation {
        Activation::Identity => key,
        Activation::Relu => key.with("relu", true),
        Activation::Gelu => key.with("gelu", true),
        Activation::Silu => key.with("silu", true),
        Activation::AllRelu { .. } => key.with("all_relu", true),
    }
}

/// Binds the activation and dropout parameters of a kernel.
pub(super) fn bind_activation<'a>(
    op: &str,
    args: Args<'a>,
    activation: Activation,
    dropping: Option<Dropping<'a>>,
) -> Result<Args<'a>> {
    let slope = if let Activation::AllRelu { slope } = activation { slope } else { 0.0 };
    let args = args.f32("slope", slope);
    let Some(Dropping { dropout, step }) = dropping else {
        return Ok(args.f32("dropout_rate", 0.0).u32("dropout_key_0", 0).u32("dropout_key_1", 0));
    };
    if !(0.0..1.0).contains(&dropout.rate) {
        return Err(Error::argument(op, "dropout", "a rate in [0, 1)", dropout.rate));
    }
    let [first, second] = dropout.key.0;
    Ok(args
        .f32("dropout_rate", dropout.rate)
        .u32("dropout_key_0", first)
        .u32("dropout_key_1", second)
        .tensor("now", step.tensor()))
}
