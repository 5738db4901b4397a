// Second pass of a split SDD: out = the sum of the partial sums of all segments, in ascending order.
import package::common::grid::workgroup_index;
import package::sdd::blocks::{slots, store_block4};
import package::constants::BLOCK;

struct Params {
    segments: u32,
    // Slots of a segment.
    stride: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

const QUADS = BLOCK * BLOCK / 4u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup_index(id, count) * 64u + lane;
    let slot = index / QUADS;
    if slot >= slots() {
        return;
    }
    var sum = partials[index];
    for (var segment = 1u; segment < params.segments; segment++) {
        sum += partials[segment * params.stride * QUADS + index];
    }
    let quad = index % QUADS;
    store_block4(slot, quad / (BLOCK / 4u), quad % (BLOCK / 4u) * 4u, sum);
}
