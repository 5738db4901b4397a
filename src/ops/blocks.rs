//! Block values that follow a pattern: `shaders/blocks/`, twins in [`reference::blocks`](crate::reference::blocks).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::random;
use crate::sparse::{BlockMatrix, Pattern};
use crate::{Error, Result};

/// Initial values of newly grown blocks.
#[derive(Debug, Clone)]
pub enum BlockInit {
    /// Zero.
    Zero,
    /// Uniform within +- `limit` in [silent](super::score_silent) block rows, 0 elsewhere. Units without gradient,
    /// such as those behind a ReLU with no input, could not leave 0 otherwise.
    Reviving {
        /// `u32[row_blocks]`: 1 for silent block rows, 0 for others.
        silent: Tensor,
        /// Bound of the uniform distribution.
        limit: f32,
        /// Key of the draws, which also depend on the step.
        key: random::Key,
    },
    /// Uniform within +- `limit`.
    Uniform {
        /// Bound of the uniform distribution.
        limit: f32,
        /// Key of the draws, which also depend on the step.
        key: random::Key,
    },
}

/// Records the initialisation of blocks grown since the last weight update. `values` is `[nnz, block, block]`: a
/// weight, or part of its optimizer state. `born` is written by [`swap_pattern`](super::swap_pattern). With a [loss
/// scale](Step::scale), nothing changes in a skipped step.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn renew_blocks(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    values: &Tensor,
    born: &Tensor,
    with: &BlockInit,
    step: &Step,
) -> Result<()> {
    let op = "blocks.renew";
    values.expect_shape(op, "values", &[pattern.nnz(), pattern.block(), pattern.block()])?;
    born.expect_shape(op, "born", &[pattern.nnz()])?;
    let drawn = match with {
        BlockInit::Zero => None,
        BlockInit::Reviving { limit, key, .. } | BlockInit::Uniform { limit, key } => Some((*limit, *key)),
    };
    let key = Key::new("blocks", "renew")
        .block(pattern.block())
        .with("uniform", drawn.is_some())
        .with("reviving", matches!(with, BlockInit::Reviving { .. }))
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
        if let BlockInit::Reviving { silent, .. } = with {
            silent.expect_shape(op, "silent", &[pattern.row_blocks()])?;
            args = args.tensor("silent", silent);
        }
        rec.record(&key, &args, elementwise(rows))?;
    }
    Ok(())
}

/// Block values of an old pattern, for [`remap_blocks`].
#[derive(Debug, Clone, Copy)]
pub struct RemapSource<'a> {
    /// `[nnz, block, block]` of the old pattern.
    pub values: &'a Tensor,
    /// The old pattern's slot [map](super::map_pattern). Slots past the end of `values` count as missing blocks.
    pub map: &'a Tensor,
}

/// Records the transfer of block values to the pattern of `out`: blocks missing from `a` become 0. With a second
/// source and weights, `out = weight_a * a + weight_b * b`. Each source's values must fit one binding; those of `out`
/// need not.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn remap_blocks(
    rec: &mut Recorder<'_>,
    a: RemapSource<'_>,
    b: Option<(RemapSource<'_>, [f32; 2])>,
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

/// Records the transfer of birth steps: `born`, one word per slot of `pattern`, is read from `before` through the old
/// pattern's [map](super::map_pattern), and is `now` for blocks that the old pattern lacks.
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

/// Records that the blocks of `values` (`[nnz, block, block]`) outside the set `active` become 0.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn zero_inactive_blocks(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    values: &Tensor,
    active: &Tensor,
) -> Result<()> {
    by_set(rec, "zero_inactive", pattern, values, active, |args| args)
}

/// Records that the padding of `values` (`[nnz, block, block]`) becomes 0: elements in rows or columns of the matrix that do not count.
/// `counted` has a bit for each row, in whole words, and then one for each column: 1 for those that count.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn zero_block_padding(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    values: &Tensor,
    counted: &Tensor,
) -> Result<()> {
    let op = "blocks.zero_padding";
    values.expect_shape(op, "values", &[pattern.nnz(), pattern.block(), pattern.block()])?;
    let [row_words, col_words] = [pattern.rows(), pattern.cols()].map(|lines| lines.div_ceil(32));
    counted.expect_shape(op, "counted", &[row_words + col_words])?;
    let key = Key::new("blocks", "zero_padding").block(pattern.block());
    for window in Windows::new(rec.gpu(), pattern.nnz()).over(values).cut() {
        let values = window.of(values)?;
        let args = Args::new()
            .tensor("values", &values)
            .tensor("counted", counted)
            .tensor("topology", pattern.packed())
            .size(op, "n", values.len())?
            .size(op, "first", window.start)?
            .size(op, "row_words", row_words)?;
        rec.record(&key, &args, elementwise(values.len()))?;
    }
    Ok(())
}

/// Records decoupled weight decay, `value *= 1 - learning_rate * rate`, with one rate for blocks of the set `active`
/// and another for the rest. The learning rate is the [`Step`]'s.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn decay_blocks(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    values: &Tensor,
    active: &Tensor,
    [inside, outside]: [f32; 2],
    step: &Step,
) -> Result<()> {
    by_set(rec, "decay", pattern, values, active, |args| {
        args.tensor("now", step.tensor()).f32("inside", inside).f32("outside", outside)
    })
}

/// Records a kernel that treats blocks by their membership in a set, one dispatch per window of slots.
fn by_set<'a>(
    rec: &mut Recorder<'_>,
    name: &'static str,
    pattern: &'a Pattern,
    values: &Tensor,
    active: &'a Tensor,
    more: impl Fn(Args<'a>) -> Args<'a>,
) -> Result<()> {
    values.expect_shape(name, "values", &[pattern.nnz(), pattern.block(), pattern.block()])?;
    active.expect_shape(name, "active", &[pattern.places().div_ceil(32)])?;
    let key = Key::new("blocks", name).block(pattern.block());
    for window in Windows::new(rec.gpu(), pattern.nnz()).over(values).cut() {
        let values = window.of(values)?;
        let args = more(Args::new().tensor("active_blocks", active).tensor("topology", pattern.packed()));
        let args = args.size(name, "first", window.start)?;
        let args = args.tensor("values", &values).size(name, "n", values.len())?;
        rec.record(&key, &args, elementwise(values.len()))?;
    }
    Ok(())
}
