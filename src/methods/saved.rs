//! Device state of a method in checkpoints.

use crate::gpu::Tensor;
use crate::sparse::Pattern;

/// Part of a method's state on the device. Kernels run without bounds checks, so the variant says how a resumed run validates the
/// words of a checkpoint.
#[derive(Debug, Clone)]
pub enum Saved {
    /// Floats, or words that index nothing: any value is valid.
    Numbers(Tensor),
    /// Set of blocks, a bit per place of a grid. Bits past the last place are refused.
    Set {
        /// The bits, 32 to a word.
        words: Tensor,
        /// Places of the grid.
        places: usize,
    },
    /// Pattern. A topology of another grid or number of blocks is refused.
    Pattern(Pattern),
}

impl Saved {
    /// Tensor that a checkpoint holds.
    pub(crate) fn tensor(&self) -> &Tensor {
        match self {
            Self::Numbers(tensor) | Self::Set { words: tensor, .. } => tensor,
            Self::Pattern(pattern) => pattern.packed(),
        }
    }
}
