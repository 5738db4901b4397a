//! Losses that balance the load of experts.

use super::{Balance, Checked, Gate, Inputs, Noise, Outputs, floats, words};
use crate::gpu::{Args, Class, Key, Recorder, Tensor};
use crate::ops::{column_sums, elementwise};
use crate::{Error, Result};

/// Outputs of [`losses`].
#[derive(Debug, Clone, Copy)]
pub struct Results<'a> {
    /// `[5]`: auxiliary, importance, load and z loss without coefficients, and their weighted sum.
    pub losses: &'a Tensor,
    /// Tokens assigned to each expert, `u32[experts]`.
    pub counts: &'a Tensor,
    /// Slopes of the weighted sum with respect to a token's contribution to each expert's statistics, `[4, experts]`;
    /// input of [`backward`](super::backward).
    pub slopes: &'a Tensor,
}

/// Tokens summed by one invocation, `CHUNK` of `shaders/gate/statistics.wgsl`.
const CHUNK: usize = 64;

/// Token counts are accumulated in f32, exact up to this number.
const MOST_TOKENS: usize = 1 << 24;

/// Records the balance losses of a gate and the number of tokens per expert. Partial sums over chunks of tokens are
/// allocated as scratch; their order depends only on the shape.
///
/// # Errors
/// [`Error::Config`] where the gate or a coefficient is invalid, [`Error::Argument`] where shapes do not fit,
/// [`Error::OutOfMemory`].
pub fn losses(
    rec: &mut Recorder<'_>,
    gate: Gate,
    inputs: Inputs<'_>,
    out: Outputs<'_>,
    balance: Balance,
    results: Results<'_>,
) -> Result<()> {
    let op = "gate.losses";
    let checked = Checked::new(op, gate, &inputs, &out)?;
    balance.validate()?;
    let (tokens, experts) = (checked.tokens, checked.experts);
    if tokens > MOST_TOKENS {
        return Err(Error::argument(op, "logits", format!("of {MOST_TOKENS} tokens at most"), tokens));
    }
    floats(op, "losses", results.losses, &[5])?;
    words(op, "counts", results.counts, &[experts])?;
    floats(op, "slopes", results.slopes, &[4, experts])?;
    let load = checked.load().map(|noise| load(rec, &checked, noise, &inputs, &out)).transpose()?;

    let gpu = rec.gpu();
    let chunks = tokens.div_ceil(CHUNK);
    let partial = gpu.alloc::<f32>(Class::Scratch, "partial statistics", &[chunks, 5 * experts])?;
    let statistics = gpu.alloc::<f32>(Class::Scratch, "statistics", &[5 * experts])?;
    let sums = gpu.alloc::<f32>(Class::Scratch, "sums of tokens", &[4])?;
    let mut args = Args::new()
        .tensor("probs", out.probs)
        .tensor("tokens", out.tokens)
        .tensor("experts", out.experts)
        .tensor("weights", out.weights)
        .tensor("partial", &partial)
        .size(op, "assignments", checked.assignments)?;
    if let Some(load) = &load {
        args = args.tensor("load", load);
    }
    let key = Key::new("gate", "statistics").with("columns", gate.by_expert()).with("load", load.is_some());
    rec.record(&key, &checked.sizes(op, args)?, elementwise(chunks * experts))?;
    column_sums(rec, &partial, &statistics, false)?;
    column_sums(rec, out.tokens, &sums, false)?;

    let args = Args::new()
        .tensor("statistics", &statistics)
        .tensor("sums", &sums)
        .tensor("losses", results.losses)
        .tensor("counts", results.counts)
        .tensor("slopes", results.slopes)
        .size(op, "experts", experts)?
        .f32("aux", balance.aux)
        .f32("importance", balance.importance)
        .f32("load", balance.load)
        .f32("z", balance.z);
    rec.record(&Key::new("gate", "losses"), &args, elementwise(experts))
}

/// Records the expected load of each token and expert under redrawn noise, `[tokens, experts]`.
fn load(
    rec: &mut Recorder<'_>,
    checked: &Checked<'_>,
    noise: Noise<'_>,
    inputs: &Inputs<'_>,
    out: &Outputs<'_>,
) -> Result<Tensor> {
    let op = "gate.load";
    let load = rec.gpu().alloc::<f32>(Class::Scratch, "load", &[checked.tokens, checked.experts])?;
    let args = Args::new()
        .tensor("logits", inputs.logits)
        .tensor("noise", noise.logits)
        .tensor("noisy", noise.noisy)
        .tensor("experts", out.experts)
        .tensor("tokens", out.tokens)
        .tensor("load", &load)
        .size(op, "assignments", checked.assignments)?;
    rec.record(&Key::new("gate", "load"), &checked.sizes(op, args)?, elementwise(checked.tokens))?;
    Ok(load)
}
