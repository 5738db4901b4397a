//! Topology updates on the device: `shaders/pattern/`, twins in [`reference::pattern`](crate::reference::pattern).

use super::{ABSENT, Step, elementwise, fill};
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::sparse::Pattern;

/// Records the slot map of a pattern: `map` (`u32`, one word per grid position) becomes the slot of each stored
/// block, and [`ABSENT`] elsewhere.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn map_pattern(rec: &mut Recorder<'_>, pattern: &Pattern, map: &Tensor) -> Result<()> {
    map.expect_shape("pattern.place", "map", &[pattern.places()])?;
    fill(rec, map, ABSENT)?;
    let args = Args::new().tensor("topology", pattern.packed()).tensor("map", map);
    rec.record(&Key::new("pattern", "place"), &args, elementwise(pattern.nnz()))
}

/// Records the number of block rows and of block columns without an active block, into `out[layer]`; `out` is
/// `u32[layers, 2]`.
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

/// Operands of [`swap_pattern`], all on the device.
#[derive(Debug, Clone, Copy)]
pub struct Swap<'a> {
    /// Set of blocks to drop, all of them stored.
    pub dropped: &'a Tensor,
    /// Set of blocks to grow: not stored, or dropped in the same swap. The n-th grown block replaces the n-th dropped
    /// one; surplus members of either set are ignored.
    pub grown: &'a Tensor,
    /// Out: slot [map](map_pattern) of the new pattern.
    pub map: &'a Tensor,
    /// One word per slot: the block's first update, counted from 1, or 0 for initial blocks. Becomes the next update
    /// for grown blocks.
    pub born: &'a Tensor,
    /// The current step.
    pub step: &'a Step,
    /// Two counters: the first grows by the number of grown blocks, the second by 1 if there are any.
    pub churn: &'a Tensor,
}

/// Records a slot swap: slots of dropped blocks take the coordinates of grown ones, and the index is rebuilt. Values
/// do not move and nnz is constant. A block both dropped and grown keeps its slot and is not new. With a [loss
/// scale](Step::scale), nothing changes in a skipped step.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn swap_pattern(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    swap: Swap<'_>,
    active: Option<&Tensor>,
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
    index(rec, pattern, swap.map, active)
}

/// Records that a pattern's slots become the members of `set`, in grid order, and rebuilds its index. The set should
/// have as many members as the pattern has slots; surplus members, and bits past the last grid position, are ignored.
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

/// Records the rebuild of a pattern's index from its slots: row and column pointers, and the slot lists of both.
/// Stored blocks outside the set `active`, if given, are left out of the index as inactive. `map` receives the slot
/// [map](map_pattern).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit.
pub fn index_pattern(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    map: &Tensor,
    active: Option<&Tensor>,
) -> Result<()> {
    map_pattern(rec, pattern, map)?;
    index(rec, pattern, map, active)
}

/// Records the index of a pattern whose slot map is up to date.
fn index(rec: &mut Recorder<'_>, pattern: &Pattern, map: &Tensor, active: Option<&Tensor>) -> Result<()> {
    walk(rec, "count", pattern, map, active)?;
    let args = Args::new()
        .tensor("pattern", pattern.packed())
        .size("pattern.scan", "row_blocks", pattern.row_blocks())?
        .size("pattern.scan", "col_blocks", pattern.col_blocks())?
        .size("pattern.scan", "nnz", pattern.nnz())?;
    rec.record(&Key::new("pattern", "scan"), &args, 1)?;
    walk(rec, "fill", pattern, map, active)
}

/// Records a kernel with one invocation per row and column of the grid.
fn walk(
    rec: &mut Recorder<'_>,
    name: &'static str,
    pattern: &Pattern,
    map: &Tensor,
    active: Option<&Tensor>,
) -> Result<()> {
    let mut args = Args::new().tensor("pattern", pattern.packed()).tensor("map", map);
    if let Some(active) = active {
        active.expect_shape("pattern.index", "active", &[pattern.places().div_ceil(32)])?;
        args = args.tensor("active_blocks", active);
    }
    let key = Key::new("pattern", name).with("inactive", active.is_some());
    rec.record(&key, &args, elementwise(pattern.row_blocks() + pattern.col_blocks()))
}
