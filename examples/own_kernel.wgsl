// SwiGLU, element by element: out = up * silu(gate).
import package::common::activation::sigmoid;
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> gate: array<f32>;
@group(0) @binding(1) var<storage, read> up: array<f32>;
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
        out[i] = up[i] * gate[i] * sigmoid(gate[i]);
    }
}
