//! Twins of `shaders/gate/`: which experts a token goes to, by how much, and what keeps that balanced.
//!
//! Matrices are `[tokens, experts]`, choices `[tokens, choices]`, in the order of their tokens. What a kernel does one token an
//! invocation, its twin does one token after the other.

mod backward;
mod choice;
mod config;
mod loss;
mod normal;

pub use backward::{backward, noise_backward};
pub use choice::{
    Rule, assign, choose, count, first, hash, noise, probs, quota, rebalance, scores, tally, weigh,
};
pub use config::{Balance, Gate, MOST_EXPERTS, Overflow, Score, Weights};
pub use loss::{Losses, Statistics, load, losses, statistics};
pub use normal::{normal, probability_below};

/// No expert: what a choice holds that a token does not make, [`ops::ABSENT`](crate::ops::ABSENT).
const ABSENT: u32 = u32::MAX;

/// What [`probs`] leaves of each token besides its probabilities.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Token {
    /// The logarithm of the sum of the logits' exponentials.
    pub lse: f32,
    /// Its square.
    pub square: f32,
    /// 1 if the token counts, 0 if it is padding or has a logit that is not finite.
    pub counts: f32,
    /// The sum of its probabilities: 1 of a softmax.
    pub total: f32,
}

/// Whole numbers that ascend with the floats. Zero has one place, whatever its sign.
pub(super) fn ordered(x: f32) -> u32 {
    let bits = x.to_bits();
    match bits {
        0 | 0x8000_0000 => 0x8000_0000,
        _ if bits >> 31 == 1 => !bits,
        _ => bits | 0x8000_0000,
    }
}

/// Of `x <= 0`, no smaller than what f32 holds in full.
fn small_exp(x: f32) -> f32 {
    x.max(-87.0).exp()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).min(80.0).exp())
}
