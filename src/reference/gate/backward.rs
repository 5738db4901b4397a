//! Gradients of the gate logits.

use super::loss::{Brink, distance};
use super::normal::{density, normal, spread};
use super::{Token, ordered, sigmoid, small_exp};
use crate::random::Key;
use crate::terms::ABSENT;
use crate::terms::gate::{Gate, Score, Weights};

/// Gradient of the deciding logits, from the weights' gradient and the slopes of the balance losses.
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel, in its order")]
pub fn backward(
    gate: Gate,
    logits: &[f32],
    probs: &[f32],
    tokens: &[Token],
    experts: &[u32],
    weights: &[f32],
    weights_grad: &[f32],
    slopes: Option<&[f32]>,
    logits_grad: &mut [f32],
) {
    let (count, assignments) = (probs.len() / tokens.len(), experts.len() / tokens.len());
    let slope = |row: usize, e: usize| slopes.map_or(0.0, |slopes| slopes[row * count + e]);
    for (t, token) in tokens.iter().enumerate() {
        let row = t * count..(t + 1) * count;
        let (p, x) = (&probs[row.clone()], &logits[row.clone()]);
        let grad = &mut logits_grad[row];
        if token.counts == 0.0 {
            grad.fill(0.0);
            continue;
        }
        // Assignments as (expert, gradient, weight). A second expert dropped at random has no gradient, but
        // normalised the first weight.
        let mut chosen: Vec<(usize, f32, f32)> = (t * assignments..(t + 1) * assignments)
            .filter(|&i| experts[i] != ABSENT)
            .map(|i| (experts[i] as usize, weights_grad[i] + slope(1, experts[i] as usize), weights[i]))
            .collect();
        if let (Gate::GShard { .. }, &[(first, ..)]) = (gate, &chosen[..]) {
            let others = (0..count).filter(|&e| e != first);
            let second = others.reduce(|a, b| if ordered(x[b]) > ordered(x[a]) { b } else { a });
            chosen.extend(second.map(|second| (second, 0.0, 0.0)));
        }
        // Gradient by expert: of its probability, or directly of its logit for a softmax over the assigned experts.
        let mut by_choice = vec![0.0f32; count];
        let sum = chosen.iter().fold(1e-9f32, |sum, &(e, ..)| sum + p[e]);
        let mean = match gate.weights() {
            Weights::Probs => 0.0,
            Weights::Renormalised => chosen.iter().fold(0.0f32, |sum, &(e, g, _)| sum + g * p[e]) / sum,
            Weights::Chosen => chosen.iter().fold(0.0f32, |sum, &(_, g, w)| sum + g * w),
        };
        for (e, g, w) in chosen {
            by_choice[e] = match gate.weights() {
                Weights::Probs => g,
                Weights::Renormalised => (g - mean) / sum,
                Weights::Chosen => w * (g - mean),
            };
        }
        let direct = gate.weights() == Weights::Chosen;
        let through = |e: usize| if direct { 0.0 } else { by_choice[e] };
        let softmax = gate.score() == Score::Softmax;
        let balance =
            if softmax { 0.0 } else { (0..count).map(|e| slope(0, e) * p[e]).sum::<f32>() / token.total };
        let shared = |e: usize| (slope(0, e) - balance) / token.total;
        let mean_grad: f32 =
            if softmax { (0..count).map(|e| (shared(e) + through(e)) * p[e]).sum() } else { 0.0 };
        for e in 0..count {
            let own = if softmax { p[e] } else { p[e] * (1.0 - p[e]) };
            let whole = if softmax { p[e] } else { small_exp(x[e] - token.lse) };
            grad[e] = own * (shared(e) + through(e) - mean_grad) + slope(3, e) * token.lse * whole;
            if direct {
                grad[e] += by_choice[e];
            }
        }
    }
}

/// Gradient of the noise logits. `logits_grad` holds the gradient of the noisy logits and becomes that of the clean
/// ones. With slopes, includes the load loss.
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel, in its order")]
pub fn noise_backward(
    logits: &[f32],
    noise: &[f32],
    noisy: &[f32],
    experts: &[u32],
    tokens: &[Token],
    slopes: Option<&[f32]>,
    logits_grad: &mut [f32],
    noise_grad: &mut [f32],
    key: Key,
    step: u32,
) {
    let (count, assignments) = (noise.len() / tokens.len(), experts.len() / tokens.len());
    for (t, token) in tokens.iter().enumerate() {
        let row = t * count..(t + 1) * count;
        if token.counts == 0.0 {
            noise_grad[row].fill(0.0);
            continue;
        }
        // By expert: load gradient of its logit, and that times the distance to the threshold.
        let mut own = vec![[0.0; 2]; count];
        if let Some(slopes) = slopes {
            let noisy = &noisy[row.clone()];
            let brink = Brink::find(noisy, experts[(t + 1) * assignments - 1]);
            for (e, own) in own.iter_mut().enumerate() {
                let (i, threshold) = (row.start + e, brink.threshold(noisy, e));
                let distance = distance(logits[i], noisy[threshold], noise[i]);
                let grad = slopes[2 * count + e] * density(distance) / spread(noise[i]);
                logits_grad[row.start + threshold] -= grad;
                *own = [grad, grad * distance];
            }
        }
        for (e, i) in row.enumerate() {
            let drawn = logits_grad[i] * normal(key.at([i as u32, step])[0]);
            noise_grad[i] = (drawn - own[e][1]) * sigmoid(noise[i]);
            logits_grad[i] += own[e][0];
        }
    }
}
