// Transfers block values from one pattern to another: blocks in both are copied, blocks only in the new pattern are
// 0. With two sources, the weighted sum of both; a block missing from a source counts as 0. Slots in a map that its
// source does not have, such as ABSENT, count as missing.
import package::common::grid::workgroup_index;
import package::common::topology::slot_place;
import package::constants::BLOCK;

struct Params {
    n: u32,
    @if(both)
    weight_a: f32,
    @if(both)
    weight_b: f32,
    // Index of the window's first slot.
    first: u32,
    // Number of slots of each source.
    slots_a: u32,
    @if(both)
    slots_b: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> map_a: array<u32>;
@if(both) @group(0) @binding(3) var<storage, read> b: array<vec4<f32>>;
@if(both) @group(0) @binding(4) var<storage, read> map_b: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

const QUADS = BLOCK * BLOCK / 4u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i >= params.n {
        return;
    }
    let place = slot_place(params.first + i / QUADS);
    var x = vec4<f32>();
    if map_a[place] < params.slots_a {
        x = a[map_a[place] * QUADS + i % QUADS];
    }
    @if(both) {
        x *= params.weight_a;
        if map_b[place] < params.slots_b {
            x = fma(vec4<f32>(params.weight_b), b[map_b[place] * QUADS + i % QUADS], x);
        }
    }
    out[i] = x;
}
