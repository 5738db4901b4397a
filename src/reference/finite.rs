//! Twins of `shaders/finite/`.

/// Sets `flag` in word `word` of `status` if any element of `x` is NaN or infinite.
pub fn finite(x: &[f32], status: &mut [u32], word: usize, flag: u32) {
    const EXPONENT: u32 = 0x7F80_0000;
    if x.iter().any(|x| x.to_bits() & EXPONENT == EXPONENT) {
        status[word] |= flag;
    }
}

/// Sets, in word `word` of `status`, bit 0 if any element of `x[rows, width]` is not 0, and bit 1 if any row differs
/// from the first.
pub fn activity(x: &[f32], width: usize, status: &mut [u32], word: usize) {
    status[word] |= u32::from(x.iter().any(|&x| x != 0.0));
    status[word] |= u32::from(x.chunks(width).any(|row| row != &x[..width])) << 1;
}
