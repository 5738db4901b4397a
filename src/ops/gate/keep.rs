//! Which assignments experts keep where they have a capacity, and quotas that go by the number of tokens.

use super::{MOST_EXPERTS, Overflow, floats, words};
use crate::gpu::{Args, Class, DType, Key, Recorder, Tensor};
use crate::ops::elementwise;
use crate::ops::select::{Quota, select_columns};
use crate::reference::Extreme;
use crate::{Error, Result};

/// Records which of the assignments `experts[tokens, choices]` are kept where an expert takes so many of each group of tokens:
/// `quota[groups, experts]` (`u32`). A group is `tokens / groups` tokens that follow each other, a sequence say, and nothing in
/// another group matters. By [`Overflow::Position`] nothing behind a token in its group matters either. `weights[tokens, choices]`
/// are those of the assignments.
///
/// `kept` (`u32[groups, experts, words]`, a bit per token of the group in whole words) is for [`route`](crate::ops::route).
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit, [`Error::OutOfMemory`].
pub fn keep(
    rec: &mut Recorder<'_>,
    experts: &Tensor,
    weights: &Tensor,
    overflow: Overflow,
    quota: &Tensor,
    kept: &Tensor,
) -> Result<()> {
    let op = "gate.keep";
    let [tokens, choices] = experts.matrix(op, "experts")?;
    words(op, "experts", experts, &[tokens, choices])?;
    floats(op, "weights", weights, &[tokens, choices])?;
    let [groups, count] = quota.matrix(op, "quota")?;
    words(op, "quota", quota, &[groups, count])?;
    if !(1..=MOST_EXPERTS).contains(&count) {
        return Err(Error::argument(op, "quota", format!("of 1 to {MOST_EXPERTS} experts"), count));
    }
    if groups == 0 || !tokens.is_multiple_of(groups) {
        let wanted = format!("of groups that {tokens} tokens can be divided into");
        return Err(Error::argument(op, "quota", wanted, groups));
    }
    let (group, columns) = (tokens / groups, groups * count);
    words(op, "kept", kept, &[groups, count, group.div_ceil(32)])?;

    let scores = rec.gpu().alloc::<f32>(Class::Scratch, "scores", &[group, columns])?;
    let (weights, bits) = (weights.reinterpret(DType::U32)?, scores.reinterpret(DType::U32)?);
    let args = Args::new()
        .tensor("experts", experts)
        .tensor("weights", &weights)
        .tensor("scores", &bits)
        .size(op, "tokens", tokens)?
        .size(op, "experts", count)?
        .size(op, "choices", choices)?
        .size(op, "group", group)?;
    rec.record(&Key::new("gate", "scores").with("only", true), &args, elementwise(tokens))?;
    let kept = kept.reshape(&[columns, group.div_ceil(32)])?;
    let quota = quota.reshape(&[columns])?;
    match overflow {
        Overflow::Probability => select_columns(rec, &scores, Quota::Count(&quota), Extreme::Largest, &kept),
        Overflow::Position => {
            let args = Args::new()
                .tensor("scores", &bits)
                .tensor("quota", &quota)
                .tensor("first", &kept)
                .size(op, "n", group)?
                .size(op, "columns", columns)?;
            rec.record(&Key::new("gate", "first"), &args, columns as u64)
        }
    }
}

/// Records that every word of `quota` becomes word `n` of `by_count` (`u32[tokens + 1]`), where `n` of the `tokens` (`[tokens, 4]`,
/// as [`forward`](super::forward) leaves them) count.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn quota(rec: &mut Recorder<'_>, tokens: &Tensor, by_count: &Tensor, quota: &Tensor) -> Result<()> {
    let op = "gate.quota";
    let [count, _] = tokens.matrix(op, "tokens")?;
    floats(op, "tokens", tokens, &[count, 4])?;
    words(op, "by_count", by_count, &[count + 1])?;
    words(op, "quota", quota, quota.shape())?;
    let args = Args::new()
        .tensor("tokens", tokens)
        .tensor("by_count", by_count)
        .tensor("quota", quota)
        .size(op, "quotas", quota.len())?;
    rec.record(&Key::new("gate", "quota"), &args.size(op, "tokens", count)?, 1)
}
