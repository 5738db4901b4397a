//! Gate formulas in f64, written out directly.

use fretwork::ops::gate::{ABSENT, Balance, Gate, Score, Weights};

use crate::{INDEX, Setup, key};

/// P(X < x) of a standard normal X: series of the integral near 0, continued fraction in the tails.
pub(crate) fn below(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 4.0 {
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while term.abs() > 1e-18 {
            n += 2.0;
            term *= x * x / n;
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let fraction = (1..=60).rev().fold(x.abs(), |inner, n| x.abs() + f64::from(n) / inner);
    let tail = density / fraction;
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// Inverse of [`below`], by bisection.
pub(crate) fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if below(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

fn softplus(x: f64) -> f64 {
    (1.0 + x.exp()).ln()
}

/// A setup in f64 with given assignments.
pub(crate) struct Truth<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) logits: Vec<f64>,
    pub(crate) noise: Vec<f64>,
    draws: Vec<f64>,
    experts: &'a [u32],
}

/// Results of the formulas.
pub(crate) struct Results {
    pub(crate) probs: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    /// Auxiliary, importance, load and z loss.
    pub(crate) losses: [f64; 4],
    /// Scalar objective: weights times their gradients plus losses times their coefficients.
    pub(crate) total: f64,
}

impl<'a> Truth<'a> {
    pub(crate) fn new(setup: &'a Setup, experts: &'a [u32]) -> Self {
        let wide = |x: &[f32]| x.iter().copied().map(f64::from).collect::<Vec<f64>>();
        let noisy = setup.draws && matches!(setup.gate, Gate::NoisyTopK { .. });
        let draw = |i: usize| {
            let part = key().at([i as u32, INDEX])[0] >> 8;
            if noisy { quantile((f64::from(part) + 0.5) / 16_777_216.0) } else { 0.0 }
        };
        Self {
            setup,
            logits: wide(&setup.logits),
            noise: setup.noise.as_deref().map_or(vec![0.0; setup.logits.len()], wide),
            draws: (0..setup.logits.len()).map(draw).collect(),
            experts,
        }
    }

    fn spread(&self, i: usize) -> f64 {
        softplus(self.noise[i]) + 0.01
    }

    /// Logits that decide the assignments, noise included.
    pub(crate) fn noisy(&self) -> Vec<f64> {
        (0..self.logits.len()).map(|i| self.logits[i] + self.draws[i] * self.spread(i)).collect()
    }

    pub(crate) fn results(&self) -> Results {
        let setup = self.setup;
        let (n, k, gate) = (setup.experts, setup.assignments(), setup.gate);
        let x = self.noisy();
        let counting: Vec<usize> = (0..setup.tokens()).filter(|&t| setup.counts(t)).collect();
        let tokens = counting.len() as f64;
        let mut probs = vec![0.0; x.len()];
        let mut weights = vec![0.0; setup.tokens() * k];
        let [mut share, mut first, mut importance, mut load] = [(); 4].map(|()| vec![0.0; n]);
        let mut z = 0.0;
        for &t in &counting {
            let row = t * n..(t + 1) * n;
            let x = &x[row.clone()];
            let sum: f64 = x.iter().map(|x| x.exp()).sum();
            z += sum.ln().powi(2) / tokens;
            let p: Vec<f64> = match gate.score() {
                Score::Softmax => x.iter().map(|x| x.exp() / sum).collect(),
                Score::Sigmoid => x.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
            };
            let chosen: Vec<(usize, usize)> = (t * k..(t + 1) * k)
                .filter(|&i| self.experts[i] != ABSENT)
                .map(|i| (i, self.experts[i] as usize))
                .collect();
            // GShard normalises both weights before it drops the second expert.
            let mut against: Vec<usize> = chosen.iter().map(|&(_, e)| e).collect();
            if matches!(gate, Gate::GShard { .. }) {
                against = best(x).into_iter().take(2).collect();
            }
            for &(i, e) in &chosen {
                weights[i] = match gate.weights() {
                    Weights::Probs => p[e],
                    Weights::Renormalised => p[e] / (against.iter().map(|&e| p[e]).sum::<f64>() + 1e-9),
                    Weights::Chosen => x[e].exp() / against.iter().map(|&e| x[e].exp()).sum::<f64>(),
                };
                importance[e] += weights[i];
                if gate.by_expert() || i == t * k {
                    first[e] += 1.0;
                }
            }
            let total: f64 = p.iter().sum();
            let loads = setup.draws && matches!(gate, Gate::NoisyTopK { .. }) && k < n;
            let order = best(x);
            for e in 0..n {
                share[e] += p[e] / total;
                let among = chosen.iter().any(|&(_, chosen)| chosen == e);
                load[e] += match (loads, among) {
                    (true, _) => {
                        let threshold = x[order[if among { k } else { k - 1 }]];
                        below((self.logits[t * n + e] - threshold) / self.spread(t * n + e))
                    }
                    (false, true) => 1.0,
                    (false, false) => 0.0,
                };
            }
            probs[row].copy_from_slice(&p);
        }
        let firsts: f64 = first.iter().sum();
        let aux: f64 = share.iter().zip(&first).map(|(m, c)| n as f64 * m / tokens * c / firsts).sum();
        let losses = [aux, variation(&importance), variation(&load), z];
        let Balance { aux, importance, load, z } = setup.balance.unwrap_or_default();
        let by_losses: f64 =
            losses.iter().zip([aux, importance, load, z]).map(|(x, by)| x * f64::from(by)).sum();
        let by_weights: f64 = weights.iter().zip(&setup.weights_grad).map(|(w, g)| w * f64::from(*g)).sum();
        Results { probs, weights, losses, total: by_losses + by_weights }
    }
}

/// Indices by descending value, ties in index order.
pub(crate) fn best(x: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[b].partial_cmp(&x[a]).unwrap().then(a.cmp(&b)));
    order
}

fn variation(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    variance / (mean * mean + 1e-10)
}
