//! Routing tables on the device: the assignment of tokens to experts, as a block topology.

use super::device::Pattern;
use super::topology::{BLOCKS, Topology};
use crate::gpu::{Class, Gpu, Tensor};
use crate::{Error, Result};

pub use crate::terms::gate::MOST_EXPERTS;

/// Most assignments of a routing; indices of assignments and of blocks have 32 bits.
const MOST_ASSIGNMENTS: usize = 1 << 28;

/// Sizes of a routing, known to the host. The assignments are decided on the device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RoutingShape {
    /// Tokens in a batch.
    pub tokens: usize,
    /// Assignments per token (top-k). Assignment `j` of token `t` has the index `t * choices + j`.
    pub choices: usize,
    /// Rows of a tile, and the side of a block.
    pub block: usize,
    /// Hidden units of each expert, multiples of `block`.
    pub widths: Vec<usize>,
    /// Upper bound of the assignments that are not absent, over all tokens, to allocate less where many are absent.
    /// Assignments beyond it are dropped, from the last expert on. `None` allocates for all.
    pub most: Option<usize>,
}

/// Sizes of a routing's tables in the worst case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingBounds {
    /// Tiles of `block` rows.
    pub tiles: usize,
    /// Blocks: a tile has one for each column of blocks of its expert.
    pub slots: usize,
}

impl RoutingShape {
    /// Number of experts.
    pub fn experts(&self) -> usize {
        self.widths.len()
    }

    /// Number of assignments, absent ones included.
    pub fn assignments(&self) -> usize {
        self.tokens.saturating_mul(self.choices)
    }

    /// Hidden units of all experts.
    pub fn hidden(&self) -> usize {
        self.widths.iter().fold(0, |sum, &width| sum.saturating_add(width))
    }

    /// The first column of blocks of each expert, and behind them the number of all.
    pub fn first_columns(&self) -> Vec<u32> {
        let widths = self.widths.iter().map(|width| width.checked_div(self.block).unwrap_or(0));
        std::iter::once(0)
            .chain(widths.scan(0u32, |sum, width| {
                *sum = sum.saturating_add(u32::try_from(width).unwrap_or(u32::MAX));
                Some(*sum)
            }))
            .collect()
    }

    /// Worst case: `n` tokens of an expert take `ceil(n / block)` tiles, at most one of them not full.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the invalid size.
    pub fn bounds(&self) -> Result<RoutingBounds> {
        let bad = |argument, wanted: &str, found: String| Error::argument("route", argument, wanted, found);
        if !BLOCKS.contains(&self.block) {
            return Err(bad("block", &format!("one of {BLOCKS:?}"), self.block.to_string()));
        }
        if self.experts() == 0 || self.experts() > MOST_EXPERTS {
            let wanted = format!("of 1 to {MOST_EXPERTS} experts");
            return Err(bad("widths", &wanted, self.experts().to_string()));
        }
        if let Some(width) = self.widths.iter().find(|&&w| w == 0 || !w.is_multiple_of(self.block)) {
            return Err(bad(
                "widths",
                &format!("multiples of {}, none of them 0", self.block),
                width.to_string(),
            ));
        }
        if self.tokens == 0 || self.choices == 0 {
            let found = format!("{} tokens of {} choices", self.tokens, self.choices);
            return Err(bad("tokens", "a batch that is not empty", found));
        }
        let assignments = self.tokens.checked_mul(self.choices).filter(|&all| all <= MOST_ASSIGNMENTS);
        let Some(assignments) = assignments else {
            let found = format!("{} tokens of {} choices", self.tokens, self.choices);
            return Err(bad("tokens", &format!("at most {MOST_ASSIGNMENTS} assignments"), found));
        };
        let hidden = self.widths.iter().try_fold(0usize, |sum, &width| sum.checked_add(width));
        if hidden.is_none_or(|hidden| hidden >= 1 << 32) {
            return Err(bad("widths", "below 2^32 together", format!("{:?}", self.widths)));
        }
        // The kernels also sum the blocks that would be needed without a bound.
        if self.worst_case(assignments).slots >= 1 << 32 {
            let found = format!("{assignments} assignments to experts of {:?}", self.widths);
            return Err(bad("widths", "below 2^32 blocks", found));
        }
        Ok(self.worst_case(self.most.unwrap_or(assignments).min(assignments)))
    }

    fn worst_case(&self, assignments: usize) -> RoutingBounds {
        let mut widths: Vec<usize> = self.widths.iter().map(|width| width / self.block).collect();
        widths.sort_unstable_by(|a, b| b.cmp(a));
        let widest = widths[0];
        let (mut bounds, mut columns) = (RoutingBounds { tiles: 0, slots: 0 }, 0);
        // Worst case: one token each for the widest experts, a tile per expert, and all other tokens in whole tiles of the
        // widest.
        for (experts, width) in (1..=assignments).zip(widths) {
            let whole = (assignments - experts) / self.block;
            columns += width;
            bounds.tiles = bounds.tiles.max(experts.saturating_add(whole));
            bounds.slots = bounds.slots.max(columns.saturating_add(whole.saturating_mul(widest)));
        }
        bounds
    }
}

/// The routing tables of a batch, all on the device: [`ops::route`](crate::ops::route) writes them.
///
/// Expert `e` owns row tiles `first_tile[e]..first_tile[e + 1]` of `block` rows each, and its own columns of hidden units.
/// The hidden activations are a block-sparse `[rows, hidden]` matrix whose pattern has the blocks of each tile in the
/// columns of the tile's expert, and the experts' products are [`ops::sdd`](crate::ops::sdd) and
/// [`ops::dsd`](crate::ops::dsd) on that pattern.
#[derive(Debug, Clone)]
pub struct Routing {
    shape: RoutingShape,
    bounds: RoutingBounds,
    counts: Tensor,
    dropped: Tensor,
    first_tile: Tensor,
    rows: Tensor,
    tokens: Tensor,
    places: Tensor,
    pattern: Pattern,
    pub(crate) scratch: RoutingScratch,
}

/// Intermediate results of the kernels.
#[derive(Debug, Clone)]
pub(crate) struct RoutingScratch {
    /// `[experts + 1]`
    pub(crate) first_column: Tensor,
    /// `[experts + 1]`
    pub(crate) first_slot: Tensor,
    /// `[experts, chunks]`
    pub(crate) table: Tensor,
    /// `[experts]`, each choice of an expert counted.
    pub(crate) chosen: Tensor,
    /// `[experts]`, those counted that are kept.
    pub(crate) kept: Tensor,
}

/// Assignments of a chunk: one invocation walks along it.
fn chunk(assignments: usize) -> usize {
    assignments.div_ceil(4096).max(32)
}

impl Routing {
    /// Allocates the tables. Before [`ops::route`](crate::ops::route) has run the pattern is empty and the tables are
    /// unspecified.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the invalid size, [`Error::Topology`] for more rows or blocks than a pattern
    /// may have, [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, shape: RoutingShape) -> Result<Self> {
        let bounds = shape.bounds()?;
        let (experts, rows) = (shape.experts(), bounds.tiles * shape.block);
        let pattern = Pattern::bounded(gpu, rows, shape.hidden(), shape.block, bounds.slots)?;
        let table = |label: &str, words: usize| gpu.alloc::<u32>(Class::Topology, label, &[words]);
        let scratch = |label: &str, shape: &[usize]| gpu.alloc::<u32>(Class::Scratch, label, shape);
        let chunks = shape.assignments().div_ceil(chunk(shape.assignments()));
        let columns = shape.first_columns();
        Ok(Self {
            counts: table("counts", experts)?,
            dropped: table("dropped", experts)?,
            first_tile: table("first tiles", experts + 1)?,
            rows: table("rows", rows)?,
            tokens: table("tokens", rows)?,
            places: table("places", shape.assignments())?,
            pattern,
            scratch: RoutingScratch {
                first_column: gpu.upload(Class::Topology, "first columns", &[columns.len()], &columns)?,
                first_slot: scratch("first slots", &[experts + 1])?,
                table: scratch("routing", &[experts, chunks])?,
                chosen: scratch("chosen", &[experts])?,
                kept: scratch("kept", &[experts])?,
            },
            bounds,
            shape,
        })
    }

    /// Assignments that an invocation walks along.
    pub(crate) fn chunk(&self) -> usize {
        chunk(self.shape.assignments())
    }

    /// The sizes.
    pub fn shape(&self) -> &RoutingShape {
        &self.shape
    }

    /// The allocated sizes.
    pub fn bounds(&self) -> RoutingBounds {
        self.bounds
    }

    /// `u32[experts]`: load of each expert, in tokens.
    pub fn counts(&self) -> &Tensor {
        &self.counts
    }

    /// `u32[experts]`: assignments of each expert that were dropped, for its capacity or for [`RoutingShape::most`].
    pub fn dropped(&self) -> &Tensor {
        &self.dropped
    }

    /// `u32[experts + 1]`: the first row tile of each expert, and behind them the number of tiles that there are.
    pub fn first_tile(&self) -> &Tensor {
        &self.first_tile
    }

    /// `u32[tiles * block]`: the assignment that a row holds, or [`ABSENT`](crate::ops::ABSENT).
    pub fn rows(&self) -> &Tensor {
        &self.rows
    }

    /// `u32[tiles * block]`: the token of that assignment, or [`ABSENT`](crate::ops::ABSENT).
    pub fn tokens(&self) -> &Tensor {
        &self.tokens
    }

    /// `u32[tokens * choices]`: the row of each assignment, or [`ABSENT`](crate::ops::ABSENT).
    pub fn places(&self) -> &Tensor {
        &self.places
    }

    /// The pattern of a `[tiles * block, hidden]` matrix, [bounded](Pattern::bounded): a tile has the blocks in its expert's
    /// columns. Slots are in the order of rows, then of columns.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Reads the pattern back. Waits for the device.
    ///
    /// # Errors
    /// Those of [`Pattern::topology`].
    pub fn topology(&self, gpu: &Gpu) -> Result<Topology> {
        self.pattern.topology(gpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worst case, by exhaustion.
    #[test]
    fn bounds_are_reached_and_never_passed() {
        for (assignments, widths) in [
            (1, vec![8, 16, 24]),
            (5, vec![8, 64]),
            (20, vec![8, 16]),
            (20, vec![24, 8, 8]),
            (40, vec![64, 8]),
            (40, vec![8, 8, 8]),
        ] {
            let shape = RoutingShape { tokens: assignments, choices: 1, block: 8, widths, most: None };
            let bounds = shape.bounds().unwrap();
            let (mut tiles, mut slots) = (0, 0);
            let experts = shape.experts() as u32;
            // Every way to share out the assignments.
            for code in 0..(assignments + 1).pow(experts) {
                let counts: Vec<usize> =
                    (0..experts).map(|e| code / (assignments + 1).pow(e) % (assignments + 1)).collect();
                if counts.iter().sum::<usize>() > assignments {
                    continue;
                }
                tiles = tiles.max(counts.iter().map(|n| n.div_ceil(8)).sum());
                slots = slots.max(counts.iter().zip(&shape.widths).map(|(n, w)| n.div_ceil(8) * w / 8).sum());
            }
            assert_eq!(bounds.tiles, tiles, "{shape:?}");
            assert!(bounds.slots >= slots && bounds.slots <= slots * 3 / 2, "{shape:?}: {bounds:?}, {slots}");
        }
    }

    #[test]
    fn sizes_that_make_no_sense() {
        let good = RoutingShape { tokens: 4, choices: 2, block: 8, widths: vec![8, 16], most: None };
        assert!(good.bounds().is_ok());
        for bad in [
            RoutingShape { tokens: 0, ..good.clone() },
            RoutingShape { choices: 0, ..good.clone() },
            RoutingShape { block: 12, ..good.clone() },
            RoutingShape { widths: vec![], ..good.clone() },
            RoutingShape { widths: vec![8, 0], ..good.clone() },
            RoutingShape { widths: vec![8, 12], ..good.clone() },
            RoutingShape { widths: vec![8; MOST_EXPERTS + 1], ..good.clone() },
            RoutingShape { widths: vec![usize::MAX - 7, 8], ..good.clone() },
            RoutingShape { tokens: usize::MAX, ..good.clone() },
            RoutingShape { tokens: 1 << 20, widths: vec![1 << 31], ..good.clone() },
        ] {
            assert!(matches!(bad.bounds(), Err(Error::Argument { .. })), "{bad:?}");
        }
    }
}
