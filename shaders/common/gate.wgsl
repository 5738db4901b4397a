// Helpers of the gate kernels, and the columns of their per-token statistics.

const TOKEN_LSE = 0u;
const TOKEN_COUNTS = 2u;
const TOKEN_TOTAL = 3u;

// Whether x is neither NaN nor infinite. Tested on the bits, because a driver may assume finite values and fold a
// float comparison.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7F800000u) != 0x7F800000u;
}

// Maps a float to a u32 of the same order. Both zeros map to the same key.
fn ordered(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (bits << 1u) == 0u {
        return 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// exp(x) for x <= 0, clamped to the smallest normal f32: neither 0 nor a subnormal that some drivers flush.
fn small_exp(x: f32) -> f32 {
    return exp(max(x, -87.0));
}
