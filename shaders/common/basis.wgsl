// Entries of a random base: signs, from the one generator. Nothing of a base is stored.
//
// A hash of (cell, group) under a key of the parameter and the step has 64 bits: the signs of eight elements in eight directions.
// Direction d of the group has the eight bits from 8 * (d % 4) on of word d / 4.
import package::common::random::threefry;

// Elements of a parameter in the tensors of this dispatch.
struct Part {
    first: u32,
    len: u32,
    // First chunk, first cell, and first cell within the whole parameter.
    chunk: u32,
    cell: u32,
    offset: u32,
    key_0: u32,
    key_1: u32,
    // Place among the parameters with coordinates of their own, or 0.
    layer: u32,
}

@group(0) @binding(10) var<storage, read> parts: array<Part>;

// Key of a part's signs in a step; a base that is not redrawn has those of step 0 forever.
fn step_key(part: Part, step: u32) -> vec2<u32> {
    return threefry(vec2<u32>(part.key_0, part.key_1), vec2<u32>(step, 0u));
}

const SIGN = 0x80000000u;

// Four elements with the signs of the four lowest bits: negative where a bit is set. No product is formed, so there is nothing that
// a compiler might fuse with the sum that follows.
fn signed(x: vec4<f32>, bits: u32) -> vec4<f32> {
    let signs = (vec4<u32>(bits) << vec4<u32>(31u, 30u, 29u, 28u)) & vec4<u32>(SIGN);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ signs);
}

// Which of four elements a parameter of `len` elements has.
fn within(element: u32, len: u32) -> vec4<bool> {
    return vec4<u32>(element) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(len);
}
