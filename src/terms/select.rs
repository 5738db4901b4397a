//! Selection by score.

/// Order in which scores are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Largest first.
    Largest,
    /// Smallest first.
    Smallest,
}

/// Share of the entries that are not excluded, in `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f32);

impl Share {
    /// Number selected of so many candidates, rounded down, in f32 like the kernel.
    pub fn of(self, candidates: usize) -> usize {
        (self.0 * candidates as f32) as usize
    }
}
