//! Routing tables: `shaders/route/`, twins in [`reference::route`](crate::reference::route).

use super::elementwise;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::sparse::{Routing, RoutingShape};
use crate::{Error, Result};

/// Records the tables of a routing from `experts`, `u32[tokens, assignments]`: the expert of each assignment, or
/// [`ABSENT`](super::ABSENT). Expert numbers out of range count as absent.
///
/// An expert's rows hold all first assignments in token order, then all second ones, and so on; a token's results
/// have the same bits in any row. With `kept` (`u32[groups, experts, words]`, see [`gate::keep`](super::gate::keep)),
/// assignments whose bit is 0 are dropped. No atomics: the tables depend only on the assignments.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit,
/// [`Error::Limit`] where they do not fit the device.
pub fn route(
    rec: &mut Recorder<'_>,
    experts: &Tensor,
    kept: Option<&Tensor>,
    routing: &Routing,
) -> Result<()> {
    let op = "route";
    let shape = routing.shape();
    experts.expect_shape(op, "experts", &[shape.tokens, shape.choices])?;
    let kept = kept.map(|bits| Kept::new(op, bits, shape)).transpose()?;
    let scratch = &routing.scratch;
    count(rec, experts, None, routing, &scratch.chosen)?;
    let mut of_those_kept = &scratch.chosen;
    if kept.is_some() {
        of_those_kept = &scratch.kept;
        count(rec, experts, kept, routing, of_those_kept)?;
    }

    let (pattern, bounds) = (routing.pattern(), routing.bounds());
    let args = Args::new()
        .tensor("load", &scratch.chosen)
        .tensor("kept", of_those_kept)
        .tensor("pattern", pattern.packed())
        .tensor("first_column", &scratch.first_column)
        .tensor("first_tile", routing.first_tile())
        .tensor("first_slot", &scratch.first_slot)
        .tensor("counts", routing.counts())
        .tensor("dropped", routing.dropped())
        .size(op, "experts", shape.experts())?
        .size(op, "block", shape.block)?
        .size(op, "row_blocks", bounds.tiles)?
        .size(op, "col_blocks", pattern.col_blocks())?
        .size(op, "slots", bounds.slots)?;
    rec.record(&Key::new("route", "tiles"), &args, 1)?;

    let args = Args::new()
        .tensor("first_tile", routing.first_tile())
        .tensor("first_slot", &scratch.first_slot)
        .tensor("pattern", pattern.packed())
        .tensor("first_column", &scratch.first_column)
        .tensor("rows", routing.rows())
        .tensor("tokens", routing.tokens())
        .size(op, "experts", shape.experts())?
        .size(op, "block", shape.block)?;
    rec.record(&Key::new("route", "index"), &args, (bounds.tiles + shape.experts()) as u64)?;

    let args = walk(experts, kept, routing)?
        .tensor("first_tile", routing.first_tile())
        .tensor("counts", routing.counts())
        .tensor("rows", routing.rows())
        .tensor("tokens", routing.tokens())
        .tensor("places", routing.places());
    let key = Key::new("route", "place").with("kept", kept.is_some());
    rec.record(&key, &args, elementwise(scratch.table.shape()[1]))
}

/// Records the gather `out[i] = x[index[i]]`, 0 where the index is [`ABSENT`](super::ABSENT); `out` is as long as
/// `index`. Moves the weights of assignments to routing rows by [`Routing::rows`], and row gradients back by
/// [`Routing::places`].
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn route_values(rec: &mut Recorder<'_>, x: &Tensor, index: &Tensor, out: &Tensor) -> Result<()> {
    let op = "route.values";
    let flat = out.reshape(&[out.len()])?;
    flat.expect_shape(op, "out", &[index.len()])?;
    let args = Args::new()
        .tensor("x", x)
        .tensor("index", index)
        .tensor("out", &flat)
        .size(op, "n", index.len())?
        .size(op, "last", x.len().saturating_sub(1))?;
    rec.record(&Key::new("route", "values"), &args, elementwise(index.len()))
}

/// Assignments that passed the capacity selection.
#[derive(Clone, Copy)]
struct Kept<'a> {
    bits: &'a Tensor,
    /// Tokens per group.
    group: usize,
}

impl<'a> Kept<'a> {
    fn new(op: &str, bits: &'a Tensor, shape: &RoutingShape) -> Result<Self> {
        let groups = bits.shape().first().copied().unwrap_or(0);
        if groups == 0 || !shape.tokens.is_multiple_of(groups) {
            let wanted = format!("a number of groups that divides {} tokens", shape.tokens);
            return Err(Error::argument(op, "kept", wanted, groups));
        }
        let group = shape.tokens / groups;
        bits.expect_shape(op, "kept", &[groups, shape.experts(), group.div_ceil(32)])?;
        Ok(Self { bits, group })
    }
}

/// Records the assignment counts per expert and chunk, and their prefix sums over the chunks.
fn count(
    rec: &mut Recorder<'_>,
    experts: &Tensor,
    kept: Option<Kept<'_>>,
    routing: &Routing,
    totals: &Tensor,
) -> Result<()> {
    let table = &routing.scratch.table;
    let (experts_there, chunks) = (table.shape()[0], table.shape()[1]);
    let key = Key::new("route", "count").with("kept", kept.is_some());
    rec.record(&key, &walk(experts, kept, routing)?, elementwise(chunks))?;
    let args = Args::new()
        .tensor("table", table)
        .tensor("totals", totals)
        .size("route", "experts", experts_there)?
        .size("route", "chunks", chunks)?;
    rec.record(&Key::new("route", "scan"), &args, experts_there as u64)
}

/// Bindings of the kernels that walk the assignments.
fn walk<'a>(experts: &'a Tensor, kept: Option<Kept<'a>>, routing: &'a Routing) -> Result<Args<'a>> {
    let (op, shape, table) = ("route", routing.shape(), &routing.scratch.table);
    let mut args = Args::new().tensor("experts", experts).tensor("table", table);
    if let Some(Kept { bits, group }) = kept {
        args = args.tensor("kept", bits).size(op, "group", group)?;
    }
    args.size(op, "tokens", shape.tokens)?
        .size(op, "assignments", shape.choices)?
        .size(op, "experts", shape.experts())?
        .size(op, "chunk", routing.chunk())?
        .size(op, "chunks", table.shape()[1])?
        .size(op, "block", shape.block)
}
