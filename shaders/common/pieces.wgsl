// Mapping of a product's blocks to workgroups: one block, several blocks, or a SPAN x SPAN quarter of a block of 128.
import package::constants::BLOCK;

// Side of the block or quarter that one workgroup computes. A whole block of 128 would exceed 256 invocations, but for the wide
// configuration.
@if(!wide) const SPAN = min(BLOCK, 64u);
@if(wide) const SPAN = BLOCK;
const CUTS = BLOCK / SPAN;
const QUADS = SPAN / 4u;
const OCTETS = SPAN / 8u;

// Row and column in its block at which the tile of workgroup `index` begins.
fn first_of(index: u32) -> vec2<u32> {
    return vec2<u32>(index / CUTS % CUTS, index % CUTS) * SPAN;
}
