//! Which kernel: the cache key, the debug label, the row in `doctor`, all in one.

use std::collections::BTreeSet;

use super::{DType, Matrices};
use crate::{Error, Result};

/// How a matmul gets its operands to the registers. All variants of a family give the same bits, but for [`Variant::Coop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variant {
    /// No workgroup memory and no barrier. For drivers that run on the CPU, and for small shapes anywhere.
    Lane,
    /// As [`Variant::Lane`], where eight invocations run as one subgroup and hand round what they load. For drivers on which
    /// every lane pays for its loads; where a device or a family has no such thing, [`Variant::Lane`] runs in its place.
    Wave,
    /// Panels staged through workgroup memory. For GPUs.
    Tile,
    /// Cooperative matrices, f16 times f16 into f32 sums: tensor cores and their like. How a driver orders the sum within a
    /// matrix is not said anywhere, so bits are those of the other variants only where sums are exact; from run to run they
    /// are the same. For operands in f16 and blocks no smaller than the device's matrices; others run as
    /// [`Variant::Tile`], or, on drivers that run on the CPU, as [`Variant::Lane`].
    Coop,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 4] = [Self::Lane, Self::Wave, Self::Tile, Self::Coop];

    /// Those that give the same bits: all but [`Variant::Coop`], which is for f16 alone.
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

/// A variant, and how it is configured. Whatever is chosen, the bits are the same, but for [`Variant::Coop`], whose
/// configurations give the same bits as each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Choice {
    /// How operands get to the registers.
    pub variant: Variant,
    /// Of [`Variant::Tile`]: half as large a piece of the product a workgroup, for products of few tiles.
    pub small: bool,
    /// Of [`Variant::Tile`] and [`Variant::Coop`]: rows of workgroup memory are apart by a vector more, so that lanes meet in
    /// fewer of its banks.
    pub padded: bool,
}

impl Choice {
    /// Everything there is to choose from.
    pub const ALL: [Self; 7] = {
        let tile = Self { variant: Variant::Tile, small: false, padded: false };
        [
            Self { variant: Variant::Lane, ..tile },
            Self { variant: Variant::Wave, ..tile },
            tile,
            Self { padded: true, ..tile },
            Self { small: true, ..tile },
            Self { variant: Variant::Coop, ..tile },
            Self { variant: Variant::Coop, padded: true, ..tile },
        ]
    };

    /// Whether it gives the same bits: all but [`Variant::Coop`] do, and so do the configurations of that.
    pub(crate) fn is_alike(self, other: Self) -> bool {
        (self.variant == Variant::Coop) == (other.variant == Variant::Coop)
    }

    /// `tile.small`, say.
    pub const fn name(self) -> &'static str {
        match (self.variant, self.small, self.padded) {
            (Variant::Tile, true, _) => "tile.small",
            (Variant::Tile, false, true) => "tile.padded",
            (Variant::Coop, _, true) => "coop.padded",
            (variant, ..) => variant.name(),
        }
    }
}

/// A variant as it is where nothing was measured. Cooperative matrices are read several rows of a panel at a time, so those are
/// padded.
impl From<Variant> for Choice {
    fn from(variant: Variant) -> Self {
        Self { variant, small: false, padded: variant == Variant::Coop }
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

/// How a product is cut for cooperative matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tiling {
    /// The side of a matrix, 8 or 16.
    pub side: u32,
    /// The most invocations that a subgroup may have.
    pub lanes: u32,
    /// Rows of the product that a workgroup has.
    pub tall: u32,
    /// Columns of it.
    pub wide: u32,
    /// Contraction indices that are staged at a time.
    pub depth: u32,
}

impl Tiling {
    /// How a product of `family` is cut, where that can be done: a product of dense matrices, or one of blocks no smaller than
    /// a matrix. A workgroup has up to four parts of 2 x 2 matrices, and keeps to one row or column of blocks.
    pub fn new(family: &str, matrices: Matrices, block: Option<u32>) -> Option<Self> {
        let Matrices { side, lanes } = matrices;
        if ![8, 16].contains(&side) {
            return None;
        }
        let most = 4 * side;
        let block = block.unwrap_or(most);
        if block < side {
            return None;
        }
        let span = block.min(most);
        // The narrower it is, the longer.
        let along = 2 * side * (4 / (span / (2 * side)).max(1));
        let [tall, wide] = match family {
            "dense" | "sdd" => [span, span],
            "dds" => [along, span],
            "dsd" => [span, along],
            _ => return None,
        };
        // As much as workgroup memory holds; blocks of a sparse operand are staged in whole steps.
        let depth = if tall + wide <= 8 * side { 2 * side } else { side };
        let depth = if family == "sdd" { depth } else { depth.min(block) };
        Some(Self { side, lanes, tall, wide, depth })
    }

    /// Rows and columns of the product that a workgroup has.
    pub fn sides(self) -> [usize; 2] {
        [self.tall as usize, self.wide as usize]
    }
}

/// One permutation of one shader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The folder in `shaders/`, the file in `ops/` and in `reference/`.
    pub family: &'static str,
    /// The file in that folder: a variant of a matmul family, a kernel of the others.
    pub name: &'static str,
    /// What operands are stored as: f32 or f16. Sums are always f32. Where it is f16, the conditional `half` is on.
    pub dtype: DType,
    /// The block size, for families that have one.
    pub block: Option<u32>,
    /// Of the variant with cooperative matrices.
    pub tiling: Option<Tiling>,
    /// The conditionals that are on; see [`FLAGS`].
    pub flags: BTreeSet<&'static str>,
}

/// Every conditional a shader may use. One that is not here is a hard error at composition.
pub const FLAGS: &[&str] = &[
    // Stored the other way round: `lhs` as [k, m], `rhs` as [n, k], the sparse operand as its transpose.
    "lhs_t",
    "rhs_t",
    // Row lengths that four-element vectors do not divide.
    "lhs_scalar",
    "rhs_scalar",
    "out_scalar",
    "k_tail",
    // Tiles: a smaller one; rows of workgroup memory further apart.
    "small",
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
    // Gradients are scaled, and a step may be skipped.
    "scaled",
    // Reductions: into a running total.
    "add",
    // Four elements or columns at a time.
    "quads",
    // Windows of tensors too large for one binding: they have offsets; sums go on from what an earlier window stored.
    "window",
    "continued",
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
    // Attention: an invocation owns several rows.
    "several",
    // Random numbers: uniform floats rather than raw bits; only in rows of blocks that pass no gradient on.
    "uniform",
    "reviving",
];

impl Key {
    /// A permutation with no conditional on.
    pub fn new(family: &'static str, name: &'static str) -> Self {
        Self { family, name, dtype: DType::F32, block: None, tiling: None, flags: BTreeSet::new() }
    }

    /// The same with operands stored as `dtype`.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Whether it reads or writes f16.
    pub fn is_half(&self) -> bool {
        self.dtype == DType::F16 || self.flags.contains("half_out")
    }

    /// The same with a block size.
    #[must_use]
    pub fn block(mut self, block: usize) -> Self {
        // No shader composes with a block that has so many.
        self.block = Some(u32::try_from(block).unwrap_or(u32::MAX));
        self
    }

    /// The same, cut for cooperative matrices, or as it is.
    #[must_use]
    pub fn tiling(mut self, tiling: Option<Tiling>) -> Self {
        self.tiling = tiling;
        self
    }

    /// The same with `flag` on if `condition` holds.
    #[must_use]
    pub fn with(mut self, flag: &'static str, condition: bool) -> Self {
        if condition {
            self.flags.insert(flag);
        }
        self
    }

    /// The name used in errors, captures and reports: `fretwork.dds.lane.f32.b16.rhs_t`.
    pub fn label(&self) -> String {
        let mut label = format!("fretwork.{}.{}.{}", self.family, self.name, self.dtype.name());
        if let Some(block) = self.block {
            label += &format!(".b{block}");
        }
        if let Some(tiling) = self.tiling {
            label += &format!(".m{}", tiling.side);
        }
        for flag in &self.flags {
            label += ".";
            label += flag;
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
