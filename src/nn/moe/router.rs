//! Router: expert logits, their noise, probabilities and losses of balance.

use super::MoeConfig;
use crate::Result;
use crate::gpu::{Class, Gpu, Tensor};
use crate::graph::Precision;
use crate::nn::operand::Operand;
use crate::ops::gate::Gate;

/// Tensors of a router.
#[derive(Debug)]
pub(super) struct Router {
    /// Logits, `[tokens, experts]`, and their gradient.
    pub(super) logits: Tensor,
    pub(super) grad: Tensor,
    pub(super) grad_operand: Operand,
    pub(super) probs: Tensor,
    /// Per-token sums of the gate, `[tokens, 4]`.
    pub(super) tokens: Tensor,
    pub(super) noise: Option<Noise>,
    /// Bias of the logits that balances experts without a loss, `[experts]`.
    pub(super) bias: Option<Tensor>,
    pub(super) losses: Tensor,
    pub(super) counts: Tensor,
    /// Slopes of the losses of balance, `[4, experts]`.
    pub(super) slopes: Tensor,
    /// Slopes times the scale of the loss, in half precision.
    pub(super) scaled_slopes: Option<Tensor>,
}

/// Noise of the logits, all tensors `[tokens, experts]`.
#[derive(Debug)]
pub(super) struct Noise {
    pub(super) spread: Tensor,
    pub(super) noisy: Tensor,
    pub(super) grad: Tensor,
    pub(super) grad_operand: Operand,
}

impl Router {
    pub(super) fn new(gpu: &Gpu, config: &MoeConfig, tokens: usize, precision: Precision) -> Result<Self> {
        let experts = config.experts.len();
        let matrix = |label: &str| gpu.alloc::<f32>(Class::Activations, label, &[tokens, experts]);
        let operand = || Operand::new(gpu, [Precision::F32, precision], "gradient", &[tokens, experts]);
        let slopes = || gpu.alloc::<f32>(Class::Scratch, "slopes", &[4, experts]);
        let noise = || -> Result<Noise> {
            Ok(Noise {
                spread: matrix("spread")?,
                noisy: matrix("noisy logits")?,
                grad: matrix("gradient")?,
                grad_operand: operand()?,
            })
        };
        let noisy = matches!(config.gate, Gate::NoisyTopK { .. });
        let bias = || gpu.zeros::<f32>(Class::Values, "bias", &[experts]);
        Ok(Self {
            noise: noisy.then(noise).transpose()?,
            logits: matrix("logits")?,
            grad: matrix("gradient")?,
            grad_operand: operand()?,
            probs: matrix("probabilities")?,
            tokens: gpu.alloc::<f32>(Class::Activations, "tokens", &[tokens, 4])?,
            bias: (config.bias_rate > 0.0).then(bias).transpose()?,
            losses: gpu.zeros::<f32>(Class::Scratch, "losses", &[5])?,
            counts: gpu.alloc::<u32>(Class::Scratch, "counts", &[experts])?,
            slopes: slopes()?,
            scaled_slopes: precision.half().map(|_| slopes()).transpose()?,
        })
    }
}
