//! State of a method on the device, and which words a checkpoint may put there.

use crate::gpu::Tensor;
use crate::sparse::Pattern;

/// A part of a method's state on the device. Kernels run without bounds checks, so the kind says what a resumed run has to
/// validate.
#[derive(Debug, Clone)]
pub enum Saved {
    /// Floats, or words that index nothing. Any value is valid.
    Numbers(Tensor),
    /// A set of blocks: a bit per place of a grid. Bits past the last place are refused.
    Set {
        /// The bits, 32 to a word.
        words: Tensor,
        /// Places of the grid.
        places: usize,
    },
    /// A pattern. Only a topology of its own grid and number of blocks is taken.
    Pattern(Pattern),
}

impl Saved {
    /// The tensor that a checkpoint keeps.
    pub(crate) fn tensor(&self) -> &Tensor {
        match self {
            Self::Numbers(tensor) | Self::Set { words: tensor, .. } => tensor,
            Self::Pattern(pattern) => pattern.packed(),
        }
    }
}
