//! Arithmetic of the kernel that measures a device's peak.

/// Multiply-adds per element and round.
pub const MULTIPLY_ADDS: usize = SUMS * STEPS;

/// Accumulators per element.
pub(crate) const SUMS: usize = 12;

/// Multiply-adds per accumulator and round.
pub(crate) const STEPS: usize = 16;
