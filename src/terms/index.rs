//! Indices that name nothing.

/// Label of a row that does not count; any other label that is no class has the same effect.
pub const IGNORED: u32 = u32::MAX;

/// Null index: no expert, row, assignment or slot.
pub const ABSENT: u32 = u32::MAX;
