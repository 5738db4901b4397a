// Zeroes inactive blocks: those outside the active set.
import package::common::grid::workgroup_index;
import package::common::topology::slot_place;
import package::constants::BLOCK;

struct Params {
    n: u32,
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
    if ((active_blocks[place / 32u] >> (place % 32u)) & 1u) == 0u {
        values[i] = 0.0;
    }
}
