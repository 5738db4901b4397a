//! Capacity selection: which assignments an expert keeps, and capacities that depend on the number of tokens.

use super::{MOST_EXPERTS, Overflow, floats, words};
use crate::gpu::{Args, Class, DType, Key, Recorder, Tensor};
use crate::ops::elementwise;
use crate::ops::select::{SelectK, select_columns};
use crate::terms::Order;
use crate::{Error, Result};

/// Records which of the assignments `experts[tokens, assignments]` are kept under the capacities `capacity[groups,
/// experts]` (`u32`). A group is `tokens / groups` consecutive tokens, for example a sequence; groups are
/// independent. With [`Overflow::Position`], later tokens of the group have no influence either. `weights[tokens,
/// assignments]` are the assignments' weights.
///
/// `kept` (`u32[groups, experts, words]`, one bit per token of the group, in whole words) is an input of
/// [`route`](crate::ops::route).
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit, [`Error::OutOfMemory`].
pub fn keep(
    rec: &mut Recorder<'_>,
    experts: &Tensor,
    weights: &Tensor,
    overflow: Overflow,
    capacity: &Tensor,
    kept: &Tensor,
) -> Result<()> {
    let op = "gate.keep";
    let [tokens, assignments] = experts.matrix(op, "experts")?;
    words(op, "experts", experts, &[tokens, assignments])?;
    floats(op, "weights", weights, &[tokens, assignments])?;
    let [groups, count] = capacity.matrix(op, "capacity")?;
    words(op, "capacity", capacity, &[groups, count])?;
    if !(1..=MOST_EXPERTS).contains(&count) {
        return Err(Error::argument(op, "capacity", format!("of 1 to {MOST_EXPERTS} experts"), count));
    }
    if groups == 0 || !tokens.is_multiple_of(groups) {
        let wanted = format!("a number of groups that divides {tokens} tokens");
        return Err(Error::argument(op, "capacity", wanted, groups));
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
        .size(op, "assignments", assignments)?
        .size(op, "group", group)?;
    rec.record(&Key::new("gate", "scores").with("only", true), &args, elementwise(tokens))?;
    let kept = kept.reshape(&[columns, group.div_ceil(32)])?;
    let capacity = capacity.reshape(&[columns])?;
    match overflow {
        Overflow::Probability => {
            select_columns(rec, &scores, SelectK::Count(&capacity), Order::Largest, &kept)
        }
        Overflow::Position => {
            let args = Args::new()
                .tensor("scores", &bits)
                .tensor("capacity", &capacity)
                .tensor("first", &kept)
                .size(op, "n", group)?
                .size(op, "columns", columns)?;
            rec.record(&Key::new("gate", "first"), &args, columns as u64)
        }
    }
}

/// Records that every word of `capacity` becomes `by_count[n]` (`u32[tokens + 1]`), with `n` the number of `tokens`
/// (`[tokens, 4]` from [`forward`](super::forward)) that count.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn capacity(rec: &mut Recorder<'_>, tokens: &Tensor, by_count: &Tensor, capacity: &Tensor) -> Result<()> {
    let op = "gate.capacity";
    let [count, _] = tokens.matrix(op, "tokens")?;
    floats(op, "tokens", tokens, &[count, 4])?;
    words(op, "by_count", by_count, &[count + 1])?;
    words(op, "capacity", capacity, capacity.shape())?;
    let args = Args::new()
        .tensor("tokens", tokens)
        .tensor("by_count", by_count)
        .tensor("capacity", capacity)
        .size(op, "capacities", capacity.len())?;
    rec.record(&Key::new("gate", "capacity"), &args.size(op, "tokens", count)?, 1)
}
