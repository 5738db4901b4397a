//! Values that follow a pattern: `shaders/blocks/`, twins in [`reference::blocks`](crate::reference::blocks).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::random;
use crate::sparse::{BlockMatrix, Pattern};
use crate::{Error, Result};

/// What the values of new blocks are.
#[derive(Debug, Clone)]
pub enum Fresh {
    /// 0.
    Zero,
    /// 0, but uniform within +- a limit in [silent](super::score_silent) rows of blocks: where units pass no gradient on, as behind a
    /// ReLU without any input, weights of 0 would stay 0.
    Reviving {
        /// `u32[row_blocks]`: 1 for silent rows of blocks, 0 for others.
        silent: Tensor,
        /// The limit.
        limit: f32,
        /// Key of the draws; the step is part of each.
        key: random::Key,
    },
    /// Uniform within +- a limit.
    Uniform {
        /// The limit.
        limit: f32,
        /// Where the draws come from; the step is part of each.
        key: random::Key,
    },
}

/// Records that the values of the blocks which have come since weights last moved are renewed. `values` is
/// `[nnz, block, block]`: a weight, or a part of its optimizer's state. `born` is what
/// [`swap_pattern`](super::swap_pattern) wrote. Nothing changes where the step has a [scale](Step::scale) and is skipped.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn renew_blocks(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    values: &Tensor,
    born: &Tensor,
    with: &Fresh,
    step: &Step,
) -> Result<()> {
    let op = "blocks.renew";
    values.expect_shape(op, "values", &[pattern.nnz(), pattern.block(), pattern.block()])?;
    born.expect_shape(op, "born", &[pattern.nnz()])?;
    let drawn = match with {
        Fresh::Zero => None,
        Fresh::Reviving { limit, key, .. } | Fresh::Uniform { limit, key } => Some((*limit, *key)),
    };
    let key = Key::new("blocks", "renew")
        .block(pattern.block())
        .with("uniform", drawn.is_some())
        .with("reviving", matches!(with, Fresh::Reviving { .. }))
        .with("scaled", step.scale().is_some());
    for window in Windows::new(rec.gpu(), pattern.nnz()).over(values).cut() {
        let values = window.of(values)?;
        let rows = window.count * pattern.block();
        let mut args = Args::new()
            .tensor("values", &values)
            .tensor("born", born)
            .tensor("now", step.tensor())
            .size(op, "rows", rows)?
            .size(op, "first", window.start)?;
        if let Some(scale) = step.scale() {
            args = args.tensor("loss_scale", scale.tensor());
        }
        if let Some((limit, random)) = drawn {
            args = args
                .tensor("topology", pattern.packed())
                .f32("limit", limit)
                .u32("key_0", random.0[0])
                .u32("key_1", random.0[1]);
        }
        if let Fresh::Reviving { silent, .. } = with {
            silent.expect_shape(op, "silent", &[pattern.row_blocks()])?;
            args = args.tensor("silent", silent);
        }
        rec.record(&key, &args, elementwise(rows))?;
    }
    Ok(())
}

/// Values of one pattern, to be brought to another.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// `[nnz, block, block]` of the old pattern.
    pub values: &'a Tensor,
    /// The old pattern's [map](super::map_pattern). A slot that `values` do not have stands for no block.
    pub map: &'a Tensor,
}

/// Records that `out` gets its blocks from `a`; those that the old pattern lacks become 0. With a second source and
/// weights, `out = weight_a * a + weight_b * b`. The values of each source must fit one binding; those of `out` need not.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn remap_blocks(
    rec: &mut Recorder<'_>,
    a: Source<'_>,
    b: Option<(Source<'_>, [f32; 2])>,
    out: &BlockMatrix,
) -> Result<()> {
    let op = "blocks.remap";
    let pattern = out.pattern();
    a.map.expect_shape(op, "map_a", &[pattern.places()])?;
    for values in [Some(a.values), b.map(|(b, _)| b.values)].into_iter().flatten() {
        if values.shape().get(1..) != out.values().shape().get(1..) {
            let wanted = format!("blocks of {}", pattern.block());
            return Err(Error::argument(op, "values", wanted, format!("{values:?}")));
        }
    }
    if let Some((b, _)) = b {
        b.map.expect_shape(op, "map_b", &[pattern.places()])?;
    }
    let key = Key::new("blocks", "remap").block(pattern.block()).with("both", b.is_some());
    for window in Windows::new(rec.gpu(), pattern.nnz()).over(out.values()).cut() {
        let values = window.of(out.values())?;
        let quads = values.len() / 4;
        let mut args = Args::new()
            .tensor("a", a.values)
            .tensor("map_a", a.map)
            .tensor("out", &values)
            .tensor("topology", pattern.packed())
            .size(op, "n", quads)?
            .size(op, "first", window.start)?
            .size(op, "slots_a", a.values.shape()[0])?;
        if let Some((b, [weight_a, weight_b])) = b {
            args = args
                .tensor("b", b.values)
                .tensor("map_b", b.map)
                .f32("weight_a", weight_a)
                .f32("weight_b", weight_b)
                .size(op, "slots_b", b.values.shape()[0])?;
        }
        rec.record(&key, &args, elementwise(quads))?;
    }
    Ok(())
}

/// Records that `born`, a word per slot of `pattern`, gets the births of the blocks that the old pattern had, from `before`
/// through its [map](super::map_pattern); of the others it becomes `now`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn remap_births(
    rec: &mut Recorder<'_>,
    before: &Tensor,
    map: &Tensor,
    pattern: &Pattern,
    born: &Tensor,
    now: u32,
) -> Result<()> {
    let op = "blocks.births";
    map.expect_shape(op, "map", &[pattern.places()])?;
    born.expect_shape(op, "born", &[pattern.nnz()])?;
    let args = Args::new()
        .tensor("before", before)
        .tensor("map", map)
        .tensor("born", born)
        .tensor("topology", pattern.packed())
        .size(op, "n", born.len())?
        .size(op, "slots", before.len())?
        .u32("now", now);
    rec.record(&Key::new("blocks", "births"), &args, elementwise(born.len()))
}

/// Records that the blocks of `values` (`[nnz, block, block]`) outside the set `awake` become 0.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn rest_blocks(rec: &mut Recorder<'_>, pattern: &Pattern, values: &Tensor, awake: &Tensor) -> Result<()> {
    by_set(rec, "rest", pattern, values, awake, |args| args)
}

/// Records `value *= 1 - learning rate * rate`, by one rate for the blocks of the set `awake` and another for those outside
/// it. The learning rate is the [`Step`]'s.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn decay_blocks(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    values: &Tensor,
    awake: &Tensor,
    [inside, outside]: [f32; 2],
    step: &Step,
) -> Result<()> {
    by_set(rec, "decay", pattern, values, awake, |args| {
        args.tensor("now", step.tensor()).f32("inside", inside).f32("outside", outside)
    })
}

/// A kernel that treats blocks of a set in one way and others in another.
fn by_set<'a>(
    rec: &mut Recorder<'_>,
    name: &'static str,
    pattern: &'a Pattern,
    values: &Tensor,
    awake: &'a Tensor,
    more: impl Fn(Args<'a>) -> Args<'a>,
) -> Result<()> {
    values.expect_shape(name, "values", &[pattern.nnz(), pattern.block(), pattern.block()])?;
    awake.expect_shape(name, "awake", &[pattern.places().div_ceil(32)])?;
    let key = Key::new("blocks", name).block(pattern.block());
    for window in Windows::new(rec.gpu(), pattern.nnz()).over(values).cut() {
        let values = window.of(values)?;
        let args = more(Args::new().tensor("awake", awake).tensor("topology", pattern.packed()));
        let args = args.size(name, "first", window.start)?;
        let args = args.tensor("values", &values).size(name, "n", values.len())?;
        rec.record(&key, &args, elementwise(values.len()))?;
    }
    Ok(())
}
