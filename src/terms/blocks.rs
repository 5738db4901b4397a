//! Places of blocks among other elements.

/// Blocks of a sparse matrix among the elements of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRange {
    /// First element, a multiple of four.
    pub first: usize,
    /// Block side.
    pub block: usize,
    /// Number of blocks.
    pub nnz: usize,
    /// First word of a tensor that has a word per block of the span.
    pub word: usize,
}

impl BlockRange {
    /// The element behind the last one.
    pub fn end(&self) -> usize {
        self.first + self.nnz * self.block * self.block
    }

    /// Word of the block of an element, if the element is in one of these blocks.
    pub fn word_of(&self, element: usize) -> Option<usize> {
        let within = element.checked_sub(self.first).filter(|_| element < self.end())?;
        Some(self.word + within / (self.block * self.block))
    }
}
