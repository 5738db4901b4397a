//! The name of a kernel: its cache key, its debug label and its row in `doctor`.

use std::collections::BTreeSet;

use super::adapters::Matrices;
use super::dtype::DType;
use crate::{Error, Result};

/// How a matmul loads its operands into registers. All variants of a family give the same bits, except [`Variant::Coop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variant {
    /// No workgroup memory and no barrier. For drivers that run on the CPU, and for small shapes anywhere.
    Lane,
    /// [`Variant::Lane`] in subgroups of eight invocations that share their loads by shuffles. For drivers that execute the load
    /// of each lane separately. Devices and families without it run [`Variant::Lane`].
    Wave,
    /// Panels of the operands staged through workgroup memory. For GPUs.
    Tile,
    /// Cooperative matrices, f16 times f16 into f32 sums, as of tensor cores. The order of the sum within a matrix is up to the
    /// driver: its bits are those of the other variants only where sums are exact, and are the same from run to run. For operands
    /// in f16 and blocks no smaller than the device's matrices; other products run as [`Variant::Tile`], or as
    /// [`Variant::Lane`] on drivers that run on the CPU.
    Coop,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 4] = [Self::Lane, Self::Wave, Self::Tile, Self::Coop];

    /// The variants that give the same bits: all but [`Variant::Coop`], which is for f16 alone.
    pub const ALIKE: [Self; 3] = [Self::Lane, Self::Wave, Self::Tile];

    /// The file in the family's folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lane => "lane",
            Self::Wave => "wave",
            Self::Tile => "tile",
            Self::Coop => "coop",
        }
    }
}

/// A variant and its configuration. All choices give the same bits, except those of [`Variant::Coop`], which give the same bits
/// as each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Choice {
    /// The variant.
    pub variant: Variant,
    /// Workgroup tile of half the size, for products of few tiles. Only [`Variant::Tile`] and [`Variant::Coop`].
    pub small: bool,
    /// Micro-tiles of 8 x 8 in place of 8 x 4, and a workgroup tile of up to twice the side, for products of many tiles. Only
    /// [`Variant::Tile`], and only where [`Choice::is_for`] says so.
    pub wide: bool,
    /// Rows of workgroup memory padded by a vector, against bank conflicts. Only [`Variant::Tile`] and [`Variant::Coop`].
    pub padded: bool,
}

impl Choice {
    /// All choices.
    pub const ALL: [Self; 9] = {
        let tile = Self { variant: Variant::Tile, small: false, wide: false, padded: false };
        [
            Self { variant: Variant::Lane, ..tile },
            Self { variant: Variant::Wave, ..tile },
            tile,
            Self { padded: true, ..tile },
            Self { small: true, ..tile },
            Self { wide: true, ..tile },
            Self { variant: Variant::Coop, ..tile },
            Self { variant: Variant::Coop, padded: true, ..tile },
            Self { variant: Variant::Coop, small: true, padded: true, ..tile },
        ]
    };

    /// Whether both choices give the same bits: neither or both are of [`Variant::Coop`].
    pub(crate) fn is_alike(self, other: Self) -> bool {
        (self.variant == Variant::Coop) == (other.variant == Variant::Coop)
    }

    /// Whether the choice is a configuration of its own for a product of blocks of this side, 0 for a dense one: those of small
    /// blocks have no wide one, whose workgroups would hold too much workgroup memory for their invocations.
    pub fn is_for(self, block: usize) -> bool {
        !self.wide || block == 0 || block >= 64
    }

    /// The name, such as `tile.small`.
    pub const fn name(self) -> &'static str {
        match (self.variant, self.small, self.padded) {
            (Variant::Tile, false, false) if self.wide => "tile.wide",
            (Variant::Tile, true, _) => "tile.small",
            (Variant::Tile, false, true) => "tile.padded",
            (Variant::Coop, true, _) => "coop.small",
            (Variant::Coop, false, true) => "coop.padded",
            (variant, ..) => variant.name(),
        }
    }
}

/// Default configuration of a variant, without measurement. [`Variant::Coop`] is padded, since its matrices are read several rows
/// of a panel at a time.
impl From<Variant> for Choice {
    fn from(variant: Variant) -> Self {
        Self { variant, small: false, wide: false, padded: variant == Variant::Coop }
    }
}

impl std::str::FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == text).ok_or_else(|| Error::Config {
            option: "variant",
            reason: format!("{text:?} is none of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

/// Tiling of a product for cooperative matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tiling {
    /// The side of a matrix, 8 or 16.
    pub side: u32,
    /// Largest subgroup size, in invocations.
    pub lanes: u32,
    /// Whether workgroup memory is declared as vectors; see [`Matrices::vectors`].
    pub vectors: bool,
    /// BM: rows of the workgroup tile.
    pub tall: u32,
    /// BN: columns of the workgroup tile.
    pub wide: u32,
    /// BK: contraction indices staged at a time.
    pub depth: u32,
    /// Rows of a subgroup tile, in matrices: 1, 2 or 4.
    pub rows: u32,
    /// Columns of a subgroup tile, in matrices: 1, 2 or 4.
    pub columns: u32,
    /// Workgroup tiles of a workgroup: blocks, where blocks are small.
    pub parts: u32,
}

impl Tiling {
    /// Tiling of a product of `family`, if it has one: a product of dense matrices, or of blocks no smaller than a cooperative
    /// matrix. Sides are up to 8 matrices, or up to 4 with `small`, of one row or column of blocks; a workgroup has up to four
    /// subgroup tiles.
    pub fn new(family: &str, matrices: Matrices, block: Option<u32>, small: bool) -> Option<Self> {
        let Matrices { side, lanes, vectors } = matrices;
        if ![8, 16].contains(&side) || block.is_some_and(|block| block < side) {
            return None;
        }
        let most = if small { 4 } else { 8 };
        // Sides below are in matrices.
        let span = block.map_or(most, |block| (block / side).min(most));
        // Across blocks of a sparse operand, a tile is as wide as the block; along them, long enough for subgroup tiles that use
        // each fragment several times.
        let (along, rows) = match span {
            1 => (2 * most, most / 2),
            2 => (most, 2),
            4 if small => (4, 2),
            _ => (8, 4),
        };
        let across = match span {
            1 => 1,
            2 | 4 => 2,
            _ => 4,
        };
        let (tall, wide, rows, columns, parts) = match family {
            "dense" | "sdd" if span >= 4 => (span, span, span / 2, span / 2, 1),
            "sdd" => (span, span, span, span, 4),
            "dds" => (along, span, rows, across, 1),
            "dsd" => (span, along, across, rows, 1),
            _ => return None,
        };
        // A step must not cross the edge of a block of a sparse operand.
        let depth = match block {
            Some(block) if family != "sdd" => block.min(2 * side),
            _ => 2 * side,
        };
        Some(Self { side, lanes, vectors, tall: tall * side, wide: wide * side, depth, rows, columns, parts })
    }

    /// Rows and columns of the workgroup tile.
    pub fn sides(self) -> [usize; 2] {
        [self.tall as usize, self.wide as usize]
    }

    /// Workgroup memory with padded rows, in bytes: staged operands in f16, and a matrix of f32 per subgroup tile.
    pub fn workgroup_memory(self) -> u32 {
        let tiles = 2 * self.parts * (self.tall + self.wide) * (self.depth + 8);
        tiles + 4 * self.subgroup_tiles() * self.side * self.side
    }

    /// Invocations of a workgroup.
    pub fn invocations(self) -> u32 {
        self.subgroup_tiles().saturating_mul(self.lanes)
    }

    fn subgroup_tiles(self) -> u32 {
        self.parts * (self.tall / (self.rows * self.side)) * (self.wide / (self.columns * self.side))
    }
}

/// One permutation of one shader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Folder of the source: of this library in `shaders/`, with files of the same name in `ops/` and `reference/`.
    pub family: &'static str,
    /// File in that folder: a variant of a matmul family, a kernel of other families.
    pub name: &'static str,
    /// Element type of the operands, f32 or f16. Sums are always f32. The conditional `half` is on for f16.
    pub dtype: DType,
    /// Block size of families that have one.
    pub block: Option<u32>,
    /// Tiling of [`Variant::Coop`].
    pub tiling: Option<Tiling>,
    /// Conditionals that are on; see [`FLAGS`].
    pub flags: BTreeSet<&'static str>,
    /// Binding numbers of inputs that are declared read-write, since a result lies in the same buffer. The recorder sets them by
    /// the tensors of a dispatch; operations leave them empty.
    pub shared: BTreeSet<u32>,
}

/// Conditionals that shaders may use. Composition fails with any other.
pub const FLAGS: &[&str] = &[
    // Stored the other way round: `lhs` as [k, m], `rhs` as [n, k], the sparse operand as its transpose.
    "lhs_t",
    "rhs_t",
    // Row lengths that four-element vectors do not divide.
    "lhs_scalar",
    "rhs_scalar",
    "out_scalar",
    "k_tail",
    // Tiles: a smaller one; wider micro-tiles; rows of workgroup memory further apart.
    "small",
    "wide",
    "padded",
    // Results, and pre-activations, are stored as f16; operands are where the key says so.
    "half_out",
    // Rounding to f16 by a random number; of a block matrix, whose draws go by a block's place and not by its slot.
    "stochastic",
    "placed",
    // Epilogues and what they contain.
    "bias",
    "forward",
    "pre",
    "backward",
    "dropout",
    "relu",
    "gelu",
    "silu",
    "all_relu",
    // Bits within blocks.
    "mask",
    // Optimizers: Nesterov's momentum; blocks that came later than others.
    "nesterov",
    "births",
    // Optimizers by parameter: the pass that updates moments. Random bases: another one in each step.
    "moments",
    "redraw",
    // Gradients are scaled, and a step may be skipped; the last gradients are scanned where that is decided.
    "scaled",
    "watched",
    // Reductions: into a running total; of three matrices, and of four; the first one is f32.
    "add",
    "third",
    "fourth",
    "mixed",
    // Four elements or columns at a time.
    "quads",
    // Windows of tensors too large for one binding: they have offsets; sums go on from what an earlier window stored.
    "window",
    "continued",
    // Partial sums of segments of the contraction.
    "split",
    // Scores of blocks: of a product with a second matrix, of squares, of the largest element, of signed sums, of cosines.
    "times",
    "square",
    "largest",
    "signed",
    "positive",
    "negative",
    "cosine",
    // Selection: from the other end; a share of what takes part rather than a count.
    "smallest",
    "fraction",
    // Stored blocks: all but those of a set.
    "except",
    // Sets: union, difference.
    "or",
    "and_not",
    // Patterns: some blocks rest; values come from two patterns.
    "inactive",
    "both",
    // Rows of an operand are gathered.
    "lhs_gather",
    "rhs_gather",
    // Experts: only some assignments are kept; a sum is weighted; hidden units are gated by others.
    "kept",
    "weighted",
    "gated",
    // Gates: scores by a sigmoid; some tokens are padding; weights divided by their sum, or a softmax over the chosen; a second
    // choice left to chance; a place for every expert; the slopes of losses, and that of the load; tokens chosen already come
    // first, or alone.
    "sigmoid",
    "valid",
    "renormalised",
    "chosen",
    "random",
    "columns",
    "losses",
    "load",
    "favour",
    "only",
    // Losses: networks learn from each other's probabilities.
    "distilled",
    // Random numbers: uniform floats rather than raw bits; only in rows of blocks that pass no gradient on.
    "uniform",
    "reviving",
];

impl Key {
    /// A permutation with no conditional on.
    pub fn new(family: &'static str, name: &'static str) -> Self {
        Self {
            family,
            name,
            dtype: DType::F32,
            block: None,
            tiling: None,
            flags: BTreeSet::new(),
            shared: BTreeSet::new(),
        }
    }

    /// Sets the element type of the operands.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Whether the kernel reads or writes f16.
    pub fn is_half(&self) -> bool {
        self.dtype == DType::F16 || self.flags.contains("half_out")
    }

    /// Sets the block size.
    #[must_use]
    pub fn block(mut self, block: usize) -> Self {
        // No shader composes with a block of that size.
        self.block = Some(u32::try_from(block).unwrap_or(u32::MAX));
        self
    }

    /// Sets or removes the tiling for cooperative matrices.
    #[must_use]
    pub fn tiling(mut self, tiling: Option<Tiling>) -> Self {
        self.tiling = tiling;
        self
    }

    /// Turns the conditional `flag` on if `condition` holds.
    #[must_use]
    pub fn with(mut self, flag: &'static str, condition: bool) -> Self {
        if condition {
            self.flags.insert(flag);
        }
        self
    }

    /// Sets the binding numbers of inputs that are declared read-write.
    #[must_use]
    pub fn shared(mut self, slots: BTreeSet<u32>) -> Self {
        self.shared = slots;
        self
    }

    /// The name in errors, captures and reports, such as `fretwork.dds.lane.f32.b16.rhs_t`.
    pub fn label(&self) -> String {
        let mut label = format!("fretwork.{}.{}.{}", self.family, self.name, self.dtype.name());
        if let Some(block) = self.block {
            label += &format!(".b{block}");
        }
        if let Some(tiling) = self.tiling {
            label += &format!(".m{}.{}x{}x{}", tiling.side, tiling.tall, tiling.wide, tiling.depth);
            if !tiling.vectors {
                label += ".scalars";
            }
        }
        for flag in &self.flags {
            label += ".";
            label += flag;
        }
        for slot in &self.shared {
            label += &format!(".shared{slot}");
        }
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_have_names_of_their_own_and_two_kinds_of_bits() {
        for choice in Choice::ALL {
            assert_eq!(choice.name().parse::<Choice>().ok(), Some(choice));
            let coop = choice.variant == Variant::Coop;
            assert_eq!(choice.is_alike(Variant::Lane.into()), !coop);
            assert_eq!(choice.is_alike(Variant::Coop.into()), coop);
        }
        assert!(Variant::ALL.into_iter().all(|variant| Choice::ALL.contains(&variant.into())));
    }
}
