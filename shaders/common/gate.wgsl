// What the kernels of gates share.

const TOKEN_LSE = 0u;
const TOKEN_COUNTS = 2u;
const TOKEN_TOTAL = 3u;

// By its bits, because a driver may assume that nothing else ever occurs.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7F800000u) != 0x7F800000u;
}

// Whole numbers that ascend with the floats. Zero has one place, whatever its sign.
fn ordered(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (bits << 1u) == 0u {
        return 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// Of x <= 0. No smaller than what f32 holds in full, so that it is never a zero or a number that some drivers flush to it.
fn small_exp(x: f32) -> f32 {
    return exp(max(x, -87.0));
}
