//! Chunks in which kernels and twins sum; they fix the order of a sum, and with it its bits.

/// Rows that one invocation of a column sum adds up.
pub const SUM_ROWS: usize = 256;

/// Tokens that one invocation of an embedding's gradient adds up.
pub const SUM_TOKENS: usize = 1024;
