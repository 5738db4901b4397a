// Threefry-2x32-20, bit-identical to src/random.rs: only u32 additions, rotations and exclusive-ors, which are exact
// on every driver.

fn mix(x: vec2<u32>, rotation: u32) -> vec2<u32> {
    let sum = x.x + x.y;
    return vec2<u32>(sum, ((x.y << rotation) | (x.y >> (32u - rotation))) ^ sum);
}

fn even_rounds(x: vec2<u32>) -> vec2<u32> {
    return mix(mix(mix(mix(x, 13u), 15u), 26u), 6u);
}

fn odd_rounds(x: vec2<u32>) -> vec2<u32> {
    return mix(mix(mix(mix(x, 17u), 29u), 16u), 24u);
}

fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let parity = 0x1BD11BDAu ^ key.x ^ key.y;
    var x = even_rounds(counter + key) + vec2<u32>(key.y, parity + 1u);
    x = odd_rounds(x) + vec2<u32>(parity, key.x + 2u);
    x = even_rounds(x) + vec2<u32>(key.x, key.y + 3u);
    x = odd_rounds(x) + vec2<u32>(key.y, parity + 4u);
    return even_rounds(x) + vec2<u32>(parity, key.x + 5u);
}

// Uniform sample in [0, 1) from the upper 24 bits, exact in f32.
fn unit(bits: u32) -> f32 {
    return f32(bits >> 8u) * (1.0 / 16777216.0);
}
