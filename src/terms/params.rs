//! Places of parameters among other elements.

/// Elements of a parameter in a span of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamRange {
    /// First element.
    pub first: usize,
    /// Number of elements: those that are stored, so of the present blocks alone.
    pub len: usize,
    /// Whether weight decay applies.
    pub decays: bool,
}

impl ParamRange {
    /// The element behind the last one.
    pub fn end(&self) -> usize {
        self.first + self.len
    }
}
