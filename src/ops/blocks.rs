//! Values that follow a pattern: `shaders/blocks/`, twins in [`reference::blocks`](crate::reference::blocks).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::random;
use crate::sparse::{BlockMatrix, Pattern};

/// What the values of new blocks are.
#[derive(Debug, Clone, Copy)]
pub enum Fresh<'a> {
    /// 0.
    Zero,
    /// Uniform within +- a limit.
    Uniform {
        /// The limit.
        limit: f32,
        /// Where the draws come from.
        key: random::Key,
        /// Whose number is part of each draw.
        step: &'a Step,
    },
}

/// Records that the values of the blocks in fresh slots are renewed. `values` is `[nnz, block, block]`: a weight, or a part
/// of its optimizer's state. `fresh` is what [`swap_pattern`](super::swap_pattern) wrote.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn renew_blocks(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    values: &Tensor,
    fresh: &Tensor,
    with: Fresh<'_>,
) -> Result<()> {
    let op = "blocks.renew";
    values.expect_shape(op, "values", &[pattern.nnz(), pattern.block(), pattern.block()])?;
    fresh.expect_shape(op, "fresh", &[pattern.nnz()])?;
    let uniform = matches!(with, Fresh::Uniform { .. });
    let key = Key::new("blocks", "renew").block(pattern.block()).with("uniform", uniform);
    for window in Windows::new(rec.gpu(), pattern.nnz()).over(values).cut() {
        let values = window.of(values)?;
        let mut args =
            Args::new().tensor("values", &values).tensor("fresh", fresh).size(op, "n", values.len())?;
        if !window.is_whole() {
            args = args.size(op, "first", window.start)?;
        }
        if let Fresh::Uniform { limit, key: random, step } = with {
            args = args
                .tensor("topology", pattern.packed())
                .tensor("now", step.tensor())
                .f32("limit", limit)
                .u32("key_0", random.0[0])
                .u32("key_1", random.0[1]);
        }
        rec.dispatch(&key.clone().with("window", !window.is_whole()), &args, elementwise(values.len()))?;
    }
    Ok(())
}

/// Values of one pattern, to be brought to another.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// `[nnz, block, block]` of the old pattern.
    pub values: &'a Tensor,
    /// The old pattern's [map](super::map_pattern).
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
            .size(op, "n", quads)?;
        if let Some((b, [weight_a, weight_b])) = b {
            args = args
                .tensor("b", b.values)
                .tensor("map_b", b.map)
                .f32("weight_a", weight_a)
                .f32("weight_b", weight_b);
        }
        if !window.is_whole() {
            args = args.size(op, "first", window.start)?;
        }
        rec.dispatch(&key.clone().with("window", !window.is_whole()), &args, elementwise(quads))?;
    }
    Ok(())
}
