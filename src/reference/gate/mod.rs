//! Twins of `shaders/gate/`: expert assignment, weights, and balance losses.
//!
//! Matrices are `[tokens, experts]`, assignments `[tokens, assignments]` in token order. Kernels with one invocation
//! per token become loops over tokens.

mod assignment;
mod backward;
mod loss;
mod normal;

pub use assignment::{
    Rule, assign, capacity, choose, count, first, hash, noise, probs, rebalance, scores, tally, weigh,
};
pub use backward::{backward, noise_backward};
pub use loss::{Losses, Statistics, load, losses, statistics};
pub use normal::{normal, probability_below};

/// Per-token sums that [`probs`] computes besides the probabilities.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Token {
    /// Log-sum-exp of the logits.
    pub lse: f32,
    /// Squared log-sum-exp.
    pub square: f32,
    /// 1 if the token counts; 0 for padding or a non-finite logit.
    pub counts: f32,
    /// Sum of the probabilities: 1 for a softmax.
    pub total: f32,
}

/// Maps a float to a u32 of the same order; both zeros map to the same key.
pub(super) fn ordered(x: f32) -> u32 {
    let bits = x.to_bits();
    match bits {
        0 | 0x8000_0000 => 0x8000_0000,
        _ if bits >> 31 == 1 => !bits,
        _ => bits | 0x8000_0000,
    }
}

/// `exp(x)` for `x <= 0`, clamped to the smallest normal f32.
fn small_exp(x: f32) -> f32 {
    x.max(-87.0).exp()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).min(80.0).exp())
}
