//! Gate operations without logits: hash routing, assignment counts, and loss-free balancing.

use super::{Gate, MOST_EXPERTS, floats, words};
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::ops::elementwise;
use crate::{Error, Result, random};

/// Records hash routing, [`Gate::Hash`], among `count` experts: `experts[tokens, k]` and `weights[tokens, k]` from
/// the token ids `ids` (`u32[tokens]`) and the key alone. `valid` marks padding, like
/// [`Inputs::valid`](super::Inputs::valid).
///
/// # Errors
/// [`Error::Config`] where `k` exceeds the number of experts, [`Error::Argument`] where shapes do not fit.
pub fn hash(
    rec: &mut Recorder<'_>,
    ids: &Tensor,
    valid: Option<&Tensor>,
    key: random::Key,
    count: usize,
    experts: &Tensor,
    weights: &Tensor,
) -> Result<()> {
    let op = "gate.hash";
    let [tokens, assignments] = experts.matrix(op, "experts")?;
    Gate::Hash { k: assignments }.validate(count)?;
    words(op, "ids", ids, &[tokens])?;
    floats(op, "weights", weights, &[tokens, assignments])?;
    let mut args = Args::new()
        .tensor("ids", ids)
        .tensor("experts", experts)
        .tensor("weights", weights)
        .size(op, "tokens", tokens)?
        .size(op, "experts", count)?
        .size(op, "assignments", assignments)?
        .u32("key_0", key.0[0])
        .u32("key_1", key.0[1]);
    if let Some(valid) = valid {
        words(op, "valid", valid, &[tokens])?;
        args = args.tensor("valid", valid);
    }
    rec.record(&Key::new("gate", "hash").with("valid", valid.is_some()), &args, elementwise(tokens))
}

/// Records `counts` (`u32[experts]`): the number of assignments per expert in `experts[tokens, assignments]`.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn count(rec: &mut Recorder<'_>, experts: &Tensor, counts: &Tensor) -> Result<()> {
    count_tiles(rec, experts, counts, 1)
}

/// Records assignment counts rounded to the nearest multiple of `tile`.
pub(super) fn count_tiles(
    rec: &mut Recorder<'_>,
    experts: &Tensor,
    counts: &Tensor,
    tile: usize,
) -> Result<()> {
    let op = "gate.count";
    let count = length(op, "counts", counts)?;
    let args = Args::new()
        .tensor("assignments", experts)
        .tensor("counts", counts)
        .size(op, "n", experts.len())?
        .size(op, "experts", count)?
        .size(op, "tile", tile)?;
    rec.record(&Key::new("gate", "count"), &args, count as u64)
}

/// Records `totals += counts`, both `u32[experts]`.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn tally(rec: &mut Recorder<'_>, counts: &Tensor, totals: &Tensor) -> Result<()> {
    let op = "gate.tally";
    let count = length(op, "counts", counts)?;
    totals.expect_shape(op, "totals", &[count])?;
    let args = Args::new().tensor("counts", counts).tensor("totals", totals).size(op, "experts", count)?;
    rec.record(&Key::new("gate", "tally"), &args, elementwise(count))
}

/// Records one step of loss-free balancing: `bias[experts]` rises by `rate` for experts below the mean of `counts`
/// (`u32[experts]`) and falls by `rate` for those above.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit or the rate is not finite.
pub fn rebalance(rec: &mut Recorder<'_>, counts: &Tensor, bias: &Tensor, rate: f32) -> Result<()> {
    let op = "gate.bias";
    let count = length(op, "bias", bias)?;
    counts.expect_shape(op, "counts", &[count])?;
    if !rate.is_finite() {
        return Err(Error::argument(op, "rate", "a finite number", rate));
    }
    let args = Args::new()
        .tensor("counts", counts)
        .tensor("bias", bias)
        .size(op, "experts", count)?
        .f32("rate", rate);
    rec.record(&Key::new("gate", "bias"), &args, elementwise(count))
}

/// Length of a vector with one entry per expert.
fn length(op: &str, argument: &'static str, tensor: &Tensor) -> Result<usize> {
    let count = tensor.len();
    tensor.expect_shape(op, argument, &[count])?;
    if !(1..=MOST_EXPERTS).contains(&count) {
        return Err(Error::argument(op, argument, format!("of 1 to {MOST_EXPERTS} experts"), count));
    }
    Ok(count)
}
