// Cast to f32, exact. Magnitudes below 2^-14 may be flushed to 0, as in every kernel that reads f16.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i < params.n {
        out[i] = f32(x[i]);
    }
}
