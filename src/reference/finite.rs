//! Twin of `shaders/finite/`.

/// Raises `flag` in word `word` of `status` if any element of `x` is NaN or infinite.
pub fn finite(x: &[f32], status: &mut [u32], word: usize, flag: u32) {
    const EXPONENT: u32 = 0x7F80_0000;
    if x.iter().any(|x| x.to_bits() & EXPONENT == EXPONENT) {
        status[word] |= flag;
    }
}
