// Decoupled weight decay with one rate inside a set of blocks and another outside: value *= 1 - learning_rate * rate.
import package::common::grid::workgroup_index;
import package::common::step::now;
import package::common::topology::slot_place;
import package::constants::BLOCK;

struct Params {
    n: u32,
    inside: f32,
    outside: f32,
    // Index of the window's first slot.
    first: u32,
}

@group(0) @binding(0) var<storage, read_write> values: array<f32>;
@group(0) @binding(1) var<storage, read> active_blocks: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

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
    let place = slot_place(params.first + i / (BLOCK * BLOCK));
    let member = ((active_blocks[place / 32u] >> (place % 32u)) & 1u) == 1u;
    values[i] *= max(0.0, 1.0 - now.learning_rate * select(params.outside, params.inside, member));
}
