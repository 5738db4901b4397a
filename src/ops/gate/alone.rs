//! Parts of gating that need no logits: hashes, counts, and a bias that balances.

use super::{Gate, MOST_EXPERTS, floats, words};
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::ops::elementwise;
use crate::{Error, Result, random};

/// Records the choices of a [`Gate::Hash`] among `count` experts: `experts[tokens, k]` and `weights[tokens, k]` by the identities
/// `ids` (`u32[tokens]`) and the key alone. `valid` is as for other gates.
///
/// # Errors
/// [`Error::Config`] where so many choices cannot be made, [`Error::Argument`] where shapes do not fit.
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
    let [tokens, choices] = experts.matrix(op, "experts")?;
    Gate::Hash { k: choices }.validate(count)?;
    words(op, "ids", ids, &[tokens])?;
    floats(op, "weights", weights, &[tokens, choices])?;
    let mut args = Args::new()
        .tensor("ids", ids)
        .tensor("experts", experts)
        .tensor("weights", weights)
        .size(op, "tokens", tokens)?
        .size(op, "experts", count)?
        .size(op, "choices", choices)?
        .u32("key_0", key.0[0])
        .u32("key_1", key.0[1]);
    if let Some(valid) = valid {
        words(op, "valid", valid, &[tokens])?;
        args = args.tensor("valid", valid);
    }
    rec.record(&Key::new("gate", "hash").with("valid", valid.is_some()), &args, elementwise(tokens))
}

/// Records that `counts` (`u32[experts]`) becomes the number of choices of each expert in `experts[tokens, choices]`.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn count(rec: &mut Recorder<'_>, experts: &Tensor, counts: &Tensor) -> Result<()> {
    count_tiles(rec, experts, counts, 1)
}

/// The same to the nearest multiple of `tile`.
pub(super) fn count_tiles(
    rec: &mut Recorder<'_>,
    experts: &Tensor,
    counts: &Tensor,
    tile: usize,
) -> Result<()> {
    let op = "gate.count";
    let count = length(op, "counts", counts)?;
    let args = Args::new()
        .tensor("choices", experts)
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

/// Records one step of balancing without a loss: `bias[experts]` of an expert with fewer than the mean of `counts`
/// (`u32[experts]`) rises by `rate`, and that of one with more falls by it.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit or the rate is no number.
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

/// The number of experts that a vector has a word for.
fn length(op: &str, argument: &'static str, tensor: &Tensor) -> Result<usize> {
    let count = tensor.len();
    tensor.expect_shape(op, argument, &[count])?;
    if !(1..=MOST_EXPERTS).contains(&count) {
        return Err(Error::argument(op, argument, format!("of 1 to {MOST_EXPERTS} experts"), count));
    }
    Ok(count)
}
