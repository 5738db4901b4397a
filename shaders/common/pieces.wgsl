// How a product shares its blocks out to workgroups.
import package::constants::BLOCK;

// A workgroup has a block, or several, or a square piece of one of 128: all of that would be too many invocations.
const SPAN = min(BLOCK, 64u);
const CUTS = BLOCK / SPAN;
const QUADS = SPAN / 4u;
const OCTETS = SPAN / 8u;

// Where in its block the piece of workgroup `index` begins: row and column.
fn first_of(index: u32) -> vec2<u32> {
    return vec2<u32>(index / CUTS % CUTS, index % CUTS) * SPAN;
}
