// New values for the blocks that have come since weights last moved: 0, or uniform within +- limit; where reviving, the latter
// only in rows of blocks that are silent. A draw depends on the block's place in the grid and not on its slot. An invocation is a
// row of a block.
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
    // Rows of all blocks.
    rows: u32,
    @if(uniform)
    limit: f32,
    @if(uniform)
    key_0: u32,
    @if(uniform)
    key_1: u32,
    // Where in the whole these slots begin.
    first: u32,
}

@group(0) @binding(0) var<storage, read_write> values: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> born: array<u32>;
// 1 for rows of blocks that pass no gradient on.
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
