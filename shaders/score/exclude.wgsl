// Excludes a set from selection: the score becomes negative at every grid position whose bit is set.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> members: array<u32>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i < params.n && ((members[i / 32u] >> (i % 32u)) & 1u) == 1u {
        scores[i] = -1.0;
    }
}
