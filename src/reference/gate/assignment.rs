//! Twins of the gate's forward kernels: probabilities, assignments and weights.

use super::normal::{normal, spread};
use super::{Token, ordered, sigmoid, small_exp};
use crate::random::{Key, unit};
use crate::terms::gate::{Score, Weights};
use crate::terms::{ABSENT, IGNORED};

/// Noisy logits: `noisy = logits + draw * (softplus(noise) + 0.01)`; element `i` is drawn at counter `(i, step)`.
pub fn noise(logits: &[f32], noise: &[f32], noisy: &mut [f32], key: Key, step: u32) {
    for (i, noisy) in noisy.iter_mut().enumerate() {
        *noisy = if noise[i].is_finite() {
            logits[i] + normal(key.at([i as u32, step])[0]) * spread(noise[i])
        } else {
            noise[i]
        };
    }
}

/// Probabilities of every token, and its per-token sums.
pub fn probs(logits: &[f32], valid: Option<&[u32]>, probs: &mut [f32], tokens: &mut [Token], score: Score) {
    let experts = logits.len() / tokens.len();
    for (t, token) in tokens.iter_mut().enumerate() {
        let (x, p) = (&logits[t * experts..][..experts], &mut probs[t * experts..][..experts]);
        let counts = valid.is_none_or(|valid| valid[t] != IGNORED) && x.iter().all(|x| x.is_finite());
        if !counts {
            p.fill(0.0);
            *token = Token { lse: 0.0, square: 0.0, counts: 0.0, total: 1.0 };
            continue;
        }
        let largest = x.iter().fold(x[0], |largest, &x| largest.max(x));
        let sum = x.iter().fold(0.0f32, |sum, x| sum + small_exp(x - largest));
        let mut total = 1.0;
        match score {
            Score::Softmax => p.iter_mut().zip(x).for_each(|(p, x)| *p = small_exp(x - largest) / sum),
            Score::Sigmoid => {
                p.iter_mut().zip(x).for_each(|(p, &x)| *p = sigmoid(x));
                total = p.iter().fold(0.0, |total, p| total + p);
            }
        }
        let lse = sum.ln() + largest;
        *token = Token { lse, square: lse * lse, counts: 1.0, total };
    }
}

/// Top-k experts by key, plus bias if given, for every token that counts: descending, ties in index order.
pub fn choose(keys: &[f32], bias: Option<&[f32]>, tokens: &[Token], experts: &mut [u32]) {
    let (count, assignments) = (keys.len() / tokens.len(), experts.len() / tokens.len());
    for (t, token) in tokens.iter().enumerate() {
        let experts = &mut experts[t * assignments..][..assignments];
        if token.counts == 0.0 {
            experts.fill(ABSENT);
            continue;
        }
        let key = |e: usize| ordered(keys[t * count + e] + bias.map_or(0.0, |bias| bias[e]));
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&e| std::cmp::Reverse(key(e)));
        experts.iter_mut().zip(order).for_each(|(expert, e)| *expert = e as u32);
    }
}

/// Weight of every assignment. `values` are probabilities, or logits for [`Weights::Chosen`]. With a key and a step,
/// the second assignment is dropped at random.
pub fn weigh(
    values: &[f32],
    experts: &mut [u32],
    weights: &mut [f32],
    tokens: usize,
    rule: Weights,
    random: Option<(Key, u32)>,
) {
    let (count, assignments) = (values.len() / tokens, experts.len() / tokens);
    for t in 0..tokens {
        let row = &values[t * count..][..count];
        let experts = &mut experts[t * assignments..][..assignments];
        let weights = &mut weights[t * assignments..][..assignments];
        let present = |expert: &&u32| **expert != ABSENT;
        let largest =
            experts.iter().filter(present).map(|&e| row[e as usize]).reduce(f32::max).unwrap_or(0.0);
        let value = |expert: u32| match rule {
            Weights::Chosen => small_exp(row[expert as usize] - largest),
            _ => row[expert as usize],
        };
        let start = if rule == Weights::Chosen { 0.0 } else { 1e-9f32 };
        let sum = match rule {
            Weights::Probs => 1.0,
            _ => experts.iter().filter(present).fold(start, |sum, &expert| sum + value(expert)),
        };
        for (weight, &expert) in weights.iter_mut().zip(&*experts) {
            *weight = if expert == ABSENT { 0.0 } else { value(expert) / sum };
        }
        if let Some((key, step)) = random
            && unit(key.at([t as u32, step])[0]) >= weights[1] / 0.2
        {
            (experts[1], weights[1]) = (ABSENT, 0.0);
        }
    }
}

/// Criterion by which experts select tokens.
#[derive(Debug, Clone, Copy)]
pub enum Rule<'a> {
    /// Probability.
    Probs,
    /// Tokens that have assigned themselves to the expert first, then the others, both by probability.
    Favour(&'a [u32]),
    /// Only tokens assigned to the expert, by the weights of the assignments, within each group of so many tokens.
    Only(&'a [u32], &'a [f32], usize),
}

/// Scores by which experts select tokens, `[tokens, experts]`; for [`Rule::Only`], `[tokens of a group, groups *
/// experts]`. Negative scores exclude: tokens that do not count, or that are not assigned to the expert where
/// assignments are required.
pub fn scores(probs: &[f32], tokens: &[Token], scores: &mut [f32], rule: Rule<'_>) {
    let count = probs.len() / tokens.len();
    for (at, &prob) in probs.iter().enumerate() {
        let (t, e) = (at / count, at % count);
        let place = |experts: &[u32]| {
            let assignments = experts.len() / tokens.len();
            (t * assignments..(t + 1) * assignments).find(|&i| experts[i] == e as u32)
        };
        let plain = if tokens[t].counts > 0.0 { prob } else { -0.0 };
        let to = match rule {
            Rule::Only(.., group) => ((t % group) * (tokens.len() / group) + t / group) * count + e,
            _ => at,
        };
        scores[to] = match rule {
            Rule::Probs => plain,
            // Raises the exponent by 128: order-preserving, and above any plain probability, which is at most 1.
            Rule::Favour(experts) => {
                place(experts).map_or(plain, |_| f32::from_bits(prob.to_bits() + 0x4000_0000))
            }
            Rule::Only(experts, weights, _) => place(experts).map_or(-0.0, |i| weights[i]),
        };
    }
}

/// First rows of each column of `scores[n, columns]` that are not excluded, at most `capacity[column]`: one bit per
/// row, column by column in whole words.
pub fn first(scores: &[f32], capacity: &[u32]) -> Vec<u32> {
    let columns = capacity.len();
    let rows = scores.len() / columns;
    let mut first = vec![0; columns * rows.div_ceil(32)];
    for (column, &most) in capacity.iter().enumerate() {
        let part = (0..rows).filter(|row| scores[row * columns + column].is_sign_positive());
        for row in part.take(most as usize) {
            first[column * rows.div_ceil(32) + row / 32] |= 1 << (row % 32);
        }
    }
    first
}

/// Sets every capacity to `by_count[n]`, with `n` the number of tokens that count.
pub fn capacity(tokens: &[Token], by_count: &[u32], capacity: &mut [u32]) {
    let counting = tokens.iter().filter(|token| token.counts > 0.0).count();
    capacity.fill(by_count[counting]);
}

/// Assignment slots by expert, from the tokens that each expert selected: one bit per token, in whole words.
pub fn assign(selected: &[u32], experts: &mut [u32], tokens: usize) {
    let (count, words) = (experts.len() / tokens, tokens.div_ceil(32));
    for (i, expert) in experts.iter_mut().enumerate() {
        let (t, e) = (i / count, i % count);
        *expert = if selected[e * words + t / 32] >> (t % 32) & 1 == 1 { e as u32 } else { ABSENT };
    }
}

/// Number of assignments per expert, rounded to the nearest multiple of `tile`.
pub fn count(assignments: &[u32], counts: &mut [u32], tile: u32) {
    for (e, count) in counts.iter_mut().enumerate() {
        let found = assignments.iter().filter(|&&expert| expert == e as u32).count() as u32;
        *count = (found + tile / 2) / tile * tile;
    }
}

/// Hash routing: assignment `j` is drawn at counter `(id, j)` from the experts not yet assigned.
pub fn hash(
    ids: &[u32],
    valid: Option<&[u32]>,
    experts: &mut [u32],
    weights: &mut [f32],
    count: usize,
    key: Key,
) {
    let assignments = experts.len() / ids.len();
    for (t, &id) in ids.iter().enumerate() {
        let span = t * assignments..(t + 1) * assignments;
        if valid.is_some_and(|valid| valid[t] == IGNORED) {
            experts[span.clone()].fill(ABSENT);
            weights[span].fill(0.0);
            continue;
        }
        let mut left: Vec<u32> = (0..count as u32).collect();
        for (j, expert) in experts[span.clone()].iter_mut().enumerate() {
            *expert = left.remove(key.at([id, j as u32])[0] as usize % left.len());
        }
        weights[span].fill(1.0 / assignments as f32);
    }
}

/// Adds counts to running totals.
pub fn tally(counts: &[u32], totals: &mut [u32]) {
    totals.iter_mut().zip(counts).for_each(|(total, count)| *total = total.wrapping_add(*count));
}

/// Loss-free balancing: raises the bias of experts below the mean count by `rate`, and lowers that of experts above.
pub fn rebalance(counts: &[u32], bias: &mut [f32], rate: f32) {
    let sum: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    for (bias, &count) in bias.iter_mut().zip(counts) {
        match (u64::from(count) * counts.len() as u64).cmp(&sum) {
            std::cmp::Ordering::Less => *bias += rate,
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => *bias -= rate,
        }
    }
}
