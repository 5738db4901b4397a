// Zeroes the elements of block values whose mask bit is 0.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read_write> values: array<f32>;
@group(0) @binding(1) var<storage, read> mask: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i < params.n && ((mask[i / 32u] >> (i % 32u)) & 1u) == 0u {
        values[i] = 0.0;
    }
}
