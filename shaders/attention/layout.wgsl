// Operands of the attention kernels: qkv[tokens, 3 * width] holds the queries, keys and values of all heads side by
// side, BLOCK columns per head.
import package::constants::BLOCK;

struct Params {
    sequences: u32,
    context: u32,
    heads: u32,
    // 1 / sqrt(BLOCK), the factor of all query-key products.
    scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

// Vectors per row of a head.
const QUADS = BLOCK / 4u;

// Offset in `qkv` of a token's query (part 0), key (1) or value (2).
fn part_at(token: u32, part: u32, head: u32) -> u32 {
    return ((token * 3u + part) * params.heads + head) * QUADS;
}

// Offset of a head's columns in a `[tokens, width]` matrix.
fn row_at(token: u32, head: u32) -> u32 {
    return (token * params.heads + head) * QUADS;
}

// Adds a dot product of four columns to a sum, in the order of the columns. Sums are chains of fma alone: drivers may
// reassociate additions, and do so in one variant and not in another.
fn add_dot(a: vec4<f32>, b: vec4<f32>, sum: f32) -> f32 {
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}
