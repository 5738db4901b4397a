//! Expert statistics, expected load and balance losses.

use super::normal::{probability_below, spread};
use super::{Token, ordered};
use crate::terms::gate::Balance;
use crate::terms::{ABSENT, SUM_ROWS};

/// Selection threshold of a token: its k-th expert by noisy logit, and the (k+1)-th.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brink {
    last: usize,
    next: usize,
}

impl Brink {
    /// Threshold of a token whose last assigned expert is `last`; k must be less than the number of experts.
    pub(super) fn find(noisy: &[f32], last: u32) -> Self {
        let last = last as usize;
        let mut brink = Self { last, next: last };
        let others = (0..noisy.len()).filter(|&e| !brink.chose(noisy, e));
        let next = others.reduce(|a, b| if ordered(noisy[b]) > ordered(noisy[a]) { b } else { a });
        brink.next = next.unwrap_or(last);
        brink
    }

    pub(super) fn chose(self, noisy: &[f32], e: usize) -> bool {
        let [key, last] = [e, self.last].map(|e| ordered(noisy[e]));
        key > last || (key == last && e <= self.last)
    }

    /// Expert whose noisy logit is the threshold of expert `e`.
    pub(super) fn threshold(self, noisy: &[f32], e: usize) -> usize {
        if self.chose(noisy, e) { self.next } else { self.last }
    }
}

/// Distance of a logit from its threshold, in standard deviations of the noise.
pub(super) fn distance(logit: f32, threshold: f32, noise: f32) -> f32 {
    (logit - threshold) / spread(noise)
}

/// Expected load: probability that each expert is in a token's top k if only its own noise is redrawn.
pub fn load(
    logits: &[f32],
    noise: &[f32],
    noisy: &[f32],
    experts: &[u32],
    tokens: &[Token],
    load: &mut [f32],
) {
    let (count, assignments) = (logits.len() / tokens.len(), experts.len() / tokens.len());
    for (t, token) in tokens.iter().enumerate() {
        let row = t * count..(t + 1) * count;
        if token.counts == 0.0 {
            load[row].fill(0.0);
            continue;
        }
        let noisy = &noisy[row.clone()];
        let brink = Brink::find(noisy, experts[(t + 1) * assignments - 1]);
        for (e, i) in row.enumerate() {
            load[i] = probability_below(distance(logits[i], noisy[brink.threshold(noisy, e)], noise[i]));
        }
    }
}

/// Expert statistics summed over all tokens that count: one row of experts each.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Probability shares.
    pub prob: Vec<f32>,
    /// First assignments.
    pub first: Vec<f32>,
    /// Weights.
    pub weight: Vec<f32>,
    /// Expected load, or the number of assignments without noise.
    pub load: Vec<f32>,
    /// Assignments.
    pub assigned: Vec<f32>,
}

/// Computes the statistics and the sums of the per-token columns. With `by_expert`, every assignment counts as a
/// first one. `load` is `[tokens, experts]`.
pub fn statistics(
    probs: &[f32],
    tokens: &[Token],
    experts: &[u32],
    weights: &[f32],
    load: Option<&[f32]>,
    by_expert: bool,
) -> (Statistics, Token) {
    let (count, assignments) = (probs.len() / tokens.len(), experts.len() / tokens.len());
    let of = |t: usize, e: usize| -> [f32; 5] {
        let place = (t * assignments..(t + 1) * assignments)
            .find(|&i| experts[i] == e as u32 && experts[i] != ABSENT);
        let assigned = if place.is_some() { 1.0 } else { 0.0 };
        let first = if by_expert || place == Some(t * assignments) { assigned } else { 0.0 };
        let load = load.map_or(assigned, |load| load[t * count + e]);
        [probs[t * count + e] / tokens[t].total, first, place.map_or(0.0, |i| weights[i]), load, assigned]
    };
    let plus = |a: [f32; 5], b: [f32; 5]| std::array::from_fn(|i| a[i] + b[i]);
    // Summation order of the kernels: groups of 8, chunks of 64, then the chunks of column sums.
    let by_eights = |e: usize, chunk: &[usize]| {
        let eights = chunk.chunks(8).map(|eight| eight.iter().fold([0.0; 5], |sum, &t| plus(sum, of(t, e))));
        eights.fold([0.0; 5], plus)
    };
    let all: Vec<usize> = (0..tokens.len()).collect();
    let sums: Vec<[f32; 5]> = (0..count)
        .map(|e| {
            let mut sums: Vec<[f32; 5]> = all.chunks(64).map(|chunk| by_eights(e, chunk)).collect();
            while sums.len() > 1 {
                sums =
                    sums.chunks(SUM_ROWS).map(|chunk| chunk.iter().copied().fold([0.0; 5], plus)).collect();
            }
            sums.first().copied().unwrap_or_default()
        })
        .collect();
    let row = |i: usize| sums.iter().map(|sum| sum[i]).collect::<Vec<f32>>();
    let statistics =
        Statistics { prob: row(0), first: row(1), weight: row(2), load: row(3), assigned: row(4) };
    let mut columns = [0.0; 4];
    crate::reference::column_sums(bytemuck::cast_slice(tokens), &mut columns, false);
    (statistics, bytemuck::cast(columns))
}

/// Balance losses, counts, and the slopes of the weighted sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Losses {
    /// Auxiliary, importance, load and z loss, and their weighted sum.
    pub losses: [f32; 5],
    /// Assignments per expert.
    pub counts: Vec<u32>,
    /// Slopes with respect to a token's probability share, weight, load, and half its squared log-sum-exp: one row of
    /// experts each.
    pub slopes: Vec<f32>,
}

/// Computes the losses from [`statistics`].
pub fn losses(statistics: &Statistics, sums: Token, balance: Balance) -> Losses {
    let n = statistics.prob.len();
    let tokens = sums.counts.max(1.0);
    let firsts = statistics.first.iter().sum::<f32>().max(1.0);
    let together = statistics.prob.iter().zip(&statistics.first).fold(0.0f32, |sum, (p, c)| sum + p * c);
    let [importance, load] = [&statistics.weight, &statistics.load].map(|row| variation(row));
    let aux = n as f32 * together / firsts / tokens;
    let z = sums.square / tokens;
    let slopes = [
        statistics.first.iter().map(|c| balance.aux * n as f32 * c / firsts / tokens).collect(),
        importance.1.iter().map(|slope| balance.importance * slope).collect(),
        load.1.iter().map(|slope| balance.load * slope).collect(),
        vec![balance.z * 2.0 / tokens; n],
    ];
    let sum = balance.aux * aux + balance.importance * importance.0 + balance.load * load.0 + balance.z * z;
    Losses {
        losses: [aux, importance.0, load.0, z, sum],
        counts: statistics.assigned.iter().map(|&count| count as u32).collect(),
        slopes: slopes.concat(),
    }
}

/// Squared coefficient of variation (unbiased variance), and its slopes.
fn variation(x: &[f32]) -> (f32, Vec<f32>) {
    let n = x.len() as f32;
    let mean = x.iter().sum::<f32>() / n;
    let squares = x.iter().fold(0.0f32, |sum, x| sum + (x - mean) * (x - mean));
    let freedom = (n - 1.0).max(1.0);
    let (variance, scale) = (squares / freedom, mean * mean + 1e-10);
    let slope = |x: &f32| 2.0 / scale * ((x - mean) / freedom - variance / scale * mean / n);
    (variance / scale, x.iter().map(slope).collect())
}
