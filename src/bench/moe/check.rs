//! Check of the timed mixture against an f64 reference on the host.

use super::MoeSizes;
use super::layer::{Layer, Weights};
use crate::bench::Bench;
use crate::gpu::Tensor;
use crate::{Error, Result};

impl Layer {
    /// Compares the outputs of some tokens, and some elements of their input gradients, with an f64 reference on the host. The
    /// balance loss is left out, since it does not decompose into tokens.
    ///
    /// # Errors
    /// [`Error::Wrong`] naming the quantity and the token.
    pub(super) fn check(&self, bench: &Bench) -> Result<()> {
        let (gpu, sizes) = (&bench.gpu, &bench.sizes.experts);
        gpu.run(&bench.plan(1, &|rec| self.pass(rec, None))?)?;
        let read = |tensor: &Tensor| gpu.read::<f32>(tensor)?.wait();
        let Weights { router, up, down } = Weights::of(&self.network)?;
        let host = Host { sizes, router: read(router)?, up: read(up)?, down: read(down)? };
        let [x, y, dy, dx] = self.tensors()?.map(read);
        let (x, y, dy, dx) = (x?, y?, dy?, dx?);
        let d = sizes.width;
        let token = |of: &[f32], t: usize| -> Vec<f64> {
            of[t * d..(t + 1) * d].iter().copied().map(f64::from).collect()
        };
        // Between two equal logits rounding decides, so only tokens with a clear top-k are compared.
        let tokens = x.len() / d;
        let clear: Vec<usize> = (0..tokens).filter(|&t| host.margin(&token(&x, t)) > 0.01).collect();
        if clear.is_empty() {
            return Err(Error::Wrong {
                label: "moe".to_owned(),
                reason: "no token has a clear choice".to_owned(),
            });
        }
        for &t in clear.iter().step_by(clear.len().div_ceil(3)) {
            let row = token(&x, t);
            agree("the output", t, &token(&y, t), &host.output(&row))?;

            let dy = token(&dy, t);
            let loss = |row: &[f64]| dot(&host.output(row), &dy);
            let found = token(&dx, t);
            // Column 0 carries the logit of an expert where loads are equal; the other columns do not.
            let columns: Vec<usize> = (0..4).map(|i| i * (d - 1) / 3).collect();
            let wanted = columns.iter().map(|&column| {
                let moved = |by: f64| {
                    let mut row = row.clone();
                    row[column] += by;
                    loss(&row)
                };
                (moved(1e-4) - moved(-1e-4)) / 2e-4
            });
            let found: Vec<f64> = columns.iter().map(|&column| found[column]).collect();
            agree("the gradient of the input", t, &found, &wanted.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Reference of the layer in f64, token by token.
struct Host<'a> {
    sizes: &'a MoeSizes,
    /// `[experts, width]`.
    router: Vec<f32>,
    /// `[experts * hidden, width]`.
    up: Vec<f32>,
    /// `[experts * hidden, width]`.
    down: Vec<f32>,
}

impl Host<'_> {
    /// Experts with their logits, in descending order.
    fn ranked(&self, x: &[f64]) -> Vec<(usize, f64)> {
        let rows = self.router.chunks(x.len());
        let mut ranked: Vec<_> = rows.map(|row| weighted(row, x)).enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }

    /// Difference between the logits of the k-th and the next expert.
    fn margin(&self, x: &[f64]) -> f64 {
        let ranked = self.ranked(x);
        let chosen = self.sizes.choices;
        ranked.get(chosen).map_or(f64::INFINITY, |next| ranked[chosen - 1].1 - next.1)
    }

    /// Output of one token.
    fn output(&self, x: &[f64]) -> Vec<f64> {
        let (d, hidden) = (x.len(), self.sizes.hidden);
        let ranked = self.ranked(x);
        let chosen = &ranked[..self.sizes.choices];
        let total: f64 = chosen.iter().map(|(_, logit)| logit.exp()).sum();
        let mut y = vec![0.0; d];
        for (expert, logit) in chosen {
            for unit in expert * hidden..(expert + 1) * hidden {
                let pre = weighted(&self.up[unit * d..(unit + 1) * d], x);
                let out = logit.exp() / total * pre / (1.0 + (-pre).exp());
                for (y, w) in y.iter_mut().zip(&self.down[unit * d..]) {
                    *y += out * f64::from(*w);
                }
            }
        }
        y
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn weighted(row: &[f32], x: &[f64]) -> f64 {
    row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
}

/// Compares with a tolerance of a thousandth of the largest element, far above rounding and far below any mistake.
///
/// # Errors
/// [`Error::Wrong`] naming the quantity, the token and both values.
fn agree(what: &str, token: usize, found: &[f64], wanted: &[f64]) -> Result<()> {
    let most = wanted.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (found, wanted) in found.iter().zip(wanted) {
        let off = (found - wanted).abs();
        if off.is_nan() || off > 1e-3 * most {
            let reason = format!("{what} of token {token} is {found}, but should be {wanted}");
            return Err(Error::Wrong { label: "moe".to_owned(), reason });
        }
    }
    Ok(())
}
