// Copy, out = x: measures memory bandwidth. An invocation copies four elements at a stride of the workgroup size, so
// that loads and stores are coalesced.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = workgroup_index(id, count) * 256u + local;
    for (var step = 0u; step < 4u; step++) {
        let i = first + step * 64u;
        if i < params.n {
            out[i] = x[i];
        }
    }
}
