// Initial values for blocks grown since the last weight update: 0, or uniform in [-limit, limit]; with `reviving`,
// uniform only in silent block rows and 0 elsewhere. Draws are indexed by the block's grid position, independent of
// its slot. One invocation per row of a block.
import package::common::grid::workgroup_index;
import package::common::step::now;
@if(scaled)
import package::common::loss_scale::LossScale;
import package::common::topology::slot_place;
@if(reviving)
import package::common::topology::slot_row;
import package::constants::BLOCK;
@if(uniform)
import package::common::random::{threefry, unit};

struct Params {
    // Number of rows of all bound blocks.
    rows: u32,
    @if(uniform)
    limit: f32,
    @if(uniform)
    key_0: u32,
    @if(uniform)
    key_1: u32,
    // Index of the window's first slot.
    first: u32,
}

@group(0) @binding(0) var<storage, read_write> values: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> born: array<u32>;
// 1 for block rows that pass no gradient on.
@if(reviving) @group(0) @binding(2) var<storage, read> silent: array<u32>;
@if(scaled) @group(0) @binding(5) var<storage, read> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup_index(id, count) * 64u + local;
    let slot = params.first + row / BLOCK;
    var moves = now.moves;
    @if(scaled) {
        moves = loss_scale.taken;
        if loss_scale.factor == 0.0 {
            return;
        }
    }
    if row >= params.rows || born[slot] != moves + 1u {
        return;
    }
    @if(reviving)
    let limit = select(0.0, params.limit, silent[slot_row(slot)] == 1u);
    @if(!reviving && uniform)
    let limit = params.limit;
    for (var quad = 0u; quad < BLOCK / 4u; quad++) {
        var value = vec4<f32>();
        @if(uniform) {
            let element = (slot_place(slot) * BLOCK + row % BLOCK) * BLOCK + quad * 4u;
            value = (2.0 * vec4<f32>(draw(element), draw(element + 1u), draw(element + 2u), draw(element + 3u)) - 1.0)
                * limit;
        }
        values[row * (BLOCK / 4u) + quad] = value;
    }
}

@if(uniform)
fn draw(element: u32) -> f32 {
    return unit(threefry(vec2<u32>(params.key_0, params.key_1), vec2<u32>(element, now.index)).x);
}
