// Gather with holes: out[i] = x[index[i]], 0 where the index is ABSENT. Moves per-assignment values to routing rows
// and back.
import package::common::grid::workgroup_index;
import package::common::topology::ABSENT;

struct Params {
    n: u32,
    // Last index of x, for clamping.
    last: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
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
    let at = index[i];
    var value = 0.0;
    if at != ABSENT {
        value = x[min(at, params.last)];
    }
    out[i] = value;
}
