//! Scores of blocks.

/// Score of a stored block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueScore {
    /// Sum of magnitudes, |w|.
    Abs,
    /// Sum of squares: the squared Frobenius norm.
    Square,
    /// Largest magnitude.
    Largest,
    /// Sum of elements where positive; other blocks are excluded.
    Positive,
    /// Negated sum of elements where negative; other blocks are excluded.
    Negative,
    /// Sum of |w * g| with a second matrix g: SNIP's sensitivity.
    Times,
    /// Sum of w * g: the gradient of a scalar factor of the block.
    SignedTimes,
}

impl ValueScore {
    /// Whether the score reads a second matrix.
    pub fn takes_other(self) -> bool {
        matches!(self, Self::Times | Self::SignedTimes)
    }
}

/// Score of a block of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductScore {
    /// Sum of magnitudes.
    Abs,
    /// Magnitude of the sum.
    Sum,
    /// Sum of squares.
    Square,
    /// Sum of |cosine|: elements divided by the norms of the two columns they are the dot product of.
    Cosine,
}
