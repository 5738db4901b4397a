//! Patterns that change on the device: `shaders/pattern/`, twins in [`reference::pattern`](crate::reference::pattern).

use super::{Step, elementwise, fill};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::sparse::Pattern;

/// No slot: what a map holds for a block that is not stored.
pub const ABSENT: u32 = u32::MAX;

/// Records that `map` (`u32`, a word per place in the grid) becomes the slot of each stored block, and [`ABSENT`] where
/// there is none.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn map_pattern(rec: &mut Recorder<'_>, pattern: &Pattern, map: &Tensor) -> Result<()> {
    map.expect_shape("pattern.place", "map", &[pattern.places()])?;
    fill(rec, map, ABSENT)?;
    let args = Args::new().tensor("topology", pattern.packed()).tensor("map", map);
    rec.record(&Key::new("pattern", "place"), &args, elementwise(pattern.nnz()))
}

/// Records the numbers of rows and of columns of blocks in which no block is active, into `out[layer]`; `out` is `u32[layers, 2]`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `out` has no such row.
pub fn empty_lines(rec: &mut Recorder<'_>, pattern: &Pattern, out: &Tensor, layer: usize) -> Result<()> {
    let op = "pattern.empty";
    let [layers, _] = out.matrix(op, "out")?;
    out.expect_shape(op, "out", &[layers.max(layer.saturating_add(1)), 2])?;
    let args =
        Args::new().tensor("out", out).tensor("topology", pattern.packed()).size(op, "layer", layer)?;
    rec.record(&Key::new("pattern", "empty"), &args, 1)
}

/// What [`swap_pattern`] works on, all on the device.
#[derive(Debug, Clone, Copy)]
pub struct Swap<'a> {
    /// The set of blocks to drop, all of them stored.
    pub dropped: &'a Tensor,
    /// The set of blocks to grow: absent, or dropped at once. As many as are dropped; if more, the last are left out, and if
    /// fewer, the last of those dropped stay.
    pub grown: &'a Tensor,
    /// Room for a [map](map_pattern); afterwards it holds that of the new pattern.
    pub map: &'a Tensor,
    /// A word per slot: the first step that moved its block, counted from 1 among those in which the optimizer moved weights; 0
    /// for blocks of the start. Of new blocks it becomes the next of them.
    pub born: &'a Tensor,
    /// The step that is being done.
    pub step: &'a Step,
    /// Two words: the number of new blocks is added to the first, and 1 to the second if there is any.
    pub churn: &'a Tensor,
}

/// Records that slots of dropped blocks take the coordinates of grown ones, and that the index is rebuilt. No value moves
/// and the number of blocks stays. A block that is both dropped and grown stays in its slot and is not new. Where the step has
/// a [scale](Step::scale) and is skipped, nothing is exchanged.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn swap_pattern(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    swap: Swap<'_>,
    awake: Option<&Tensor>,
) -> Result<()> {
    let op = "pattern.swap";
    let set = [pattern.places().div_ceil(32)];
    swap.dropped.expect_shape(op, "dropped", &set)?;
    swap.grown.expect_shape(op, "grown", &set)?;
    swap.born.expect_shape(op, "born", &[pattern.nnz()])?;
    swap.churn.expect_shape(op, "churn", &[2])?;
    map_pattern(rec, pattern, swap.map)?;
    let mut args = Args::new()
        .tensor("dropped", swap.dropped)
        .tensor("grown", swap.grown)
        .tensor("pattern", pattern.packed())
        .tensor("map", swap.map)
        .tensor("born", swap.born)
        .tensor("now", swap.step.tensor())
        .tensor("churn", swap.churn)
        .size(op, "n", set[0])?
        .size(op, "places", pattern.places())?;
    if let Some(scale) = swap.step.scale() {
        args = args.tensor("loss_scale", scale.tensor());
    }
    let key = Key::new("pattern", "swap").with("scaled", swap.step.scale().is_some());
    rec.record(&key, &args, 1)?;
    index(rec, pattern, swap.map, awake)
}

/// Records that a pattern gets its slots from `set`, in the order of the grid, and its index. The set has as many members
/// as the pattern has slots; more of them, and bits past the last place of the grid, are passed by.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn fill_pattern(rec: &mut Recorder<'_>, pattern: &Pattern, set: &Tensor, map: &Tensor) -> Result<()> {
    let op = "pattern.slots";
    set.expect_shape(op, "set", &[pattern.places().div_ceil(32)])?;
    let args = Args::new()
        .tensor("members", set)
        .tensor("pattern", pattern.packed())
        .size(op, "n", set.len())?
        .size(op, "places", pattern.places())?;
    rec.record(&Key::new("pattern", "slots"), &args, 1)?;
    index_pattern(rec, pattern, map, None)
}

/// Records that the index of a pattern is rebuilt from its slots: row and column pointers, and the slots along both. With
/// a set `awake`, the stored blocks outside it rest. `map` is room for a [map](map_pattern), which it becomes.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn index_pattern(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    map: &Tensor,
    awake: Option<&Tensor>,
) -> Result<()> {
    map_pattern(rec, pattern, map)?;
    index(rec, pattern, map, awake)
}

/// The index of a pattern whose map is known.
fn index(rec: &mut Recorder<'_>, pattern: &Pattern, map: &Tensor, awake: Option<&Tensor>) -> Result<()> {
    walk(rec, "count", pattern, map, awake)?;
    let args = Args::new()
        .tensor("pattern", pattern.packed())
        .size("pattern.scan", "row_blocks", pattern.row_blocks())?
        .size("pattern.scan", "col_blocks", pattern.col_blocks())?
        .size("pattern.scan", "nnz", pattern.nnz())?;
    rec.record(&Key::new("pattern", "scan"), &args, 1)?;
    walk(rec, "fill", pattern, map, awake)
}

/// A walk along every row and every column of the grid.
fn walk(
    rec: &mut Recorder<'_>,
    name: &'static str,
    pattern: &Pattern,
    map: &Tensor,
    awake: Option<&Tensor>,
) -> Result<()> {
    let mut args = Args::new().tensor("pattern", pattern.packed()).tensor("map", map);
    if let Some(awake) = awake {
        awake.expect_shape("pattern.index", "awake", &[pattern.places().div_ceil(32)])?;
        args = args.tensor("awake", awake);
    }
    let key = Key::new("pattern", name).with("resting", awake.is_some());
    rec.record(&key, &args, elementwise(pattern.row_blocks() + pattern.col_blocks()))
}
