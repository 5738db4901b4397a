//! Random bases: where parameters lie, and the sizes of their chunks.

use crate::random::Key;

/// Elements of a parameter, and the key of their entries in a random base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasisRange {
    /// First element in its tensor.
    pub first: usize,
    /// Number of elements: those that are stored, so of the present blocks alone.
    pub len: usize,
    /// Key of the entries.
    pub key: Key,
    /// Number of the layer whose coordinates the parameter has a share in: 0 for all where one base covers all of them.
    pub layer: usize,
}

/// Directions whose signs come from one hash.
pub const BASIS_GROUP: usize = 8;

/// Elements of a chunk of dot products, for `elements` in all: about 256 chunks, and no fewer than 1,024 elements each, so that partial
/// sums take at most 1 KiB per direction, and one more row for each parameter. A multiple of eight.
pub fn basis_chunk(elements: usize) -> usize {
    elements.div_ceil(256).max(1024).div_ceil(8) * 8
}
