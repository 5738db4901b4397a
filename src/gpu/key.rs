//! Which kernel: the cache key, the debug label, the row in `doctor`, all in one.

use std::collections::BTreeSet;

use crate::{Error, Result};

/// How a matmul gets its operands to the registers. All variants of a family give the same bits.
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
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 3] = [Self::Lane, Self::Wave, Self::Tile];

    /// The file in the family's folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lane => "lane",
            Self::Wave => "wave",
            Self::Tile => "tile",
        }
    }
}

impl std::str::FromStr for Variant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == text).ok_or_else(|| Error::Config {
            option: "variant",
            reason: format!("{text:?} is none of lane, wave, tile"),
        })
    }
}

/// One permutation of one shader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The folder in `shaders/`, the file in `ops/` and in `reference/`.
    pub family: &'static str,
    /// The file in that folder: a variant of a matmul family, a kernel of the others.
    pub name: &'static str,
    /// The block size, for families that have one.
    pub block: Option<u32>,
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
    // Sets: union, difference.
    "or",
    "and_not",
    // Patterns: some blocks rest; values come from two patterns.
    "resting",
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
    // Random numbers: uniform floats rather than raw bits.
    "uniform",
];

impl Key {
    /// A permutation with no conditional on.
    pub fn new(family: &'static str, name: &'static str) -> Self {
        Self { family, name, block: None, flags: BTreeSet::new() }
    }

    /// The same with a block size.
    #[must_use]
    pub fn block(mut self, block: usize) -> Self {
        self.block = Some(u32::try_from(block).expect("block sizes are small"));
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
        let mut label = format!("fretwork.{}.{}.f32", self.family, self.name);
        if let Some(block) = self.block {
            label += &format!(".b{block}");
        }
        for flag in &self.flags {
            label += ".";
            label += flag;
        }
        label
    }
}
