//! Dropout.

use crate::random::Key;

/// Dropout whose mask is a function of key, step and element index, and is never stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability of dropping an element, in `[0, 1)`.
    pub rate: f32,
    /// The layer's key.
    pub key: Key,
}
