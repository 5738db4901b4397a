// Activation of the experts' hidden units, on the slots in use: h = activation(pre), or activation(pre) * up when
// gated.
import package::common::activation::activate;
import package::common::grid::workgroup_index;
import package::common::topology::nnz;
import package::constants::BLOCK;

struct Params {
    // Slope of the activation's negative side.
    slope: f32,
}

@group(0) @binding(0) var<storage, read> pre: array<vec4<f32>>;
@if(gated) @group(0) @binding(1) var<storage, read> up: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

const AREA = BLOCK * BLOCK / 4u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i / AREA >= nnz() {
        return;
    }
    let x = pre[i];
    var h = vec4<f32>(
        activate(x.x, params.slope), activate(x.y, params.slope),
        activate(x.z, params.slope), activate(x.w, params.slope),
    );
    @if(gated) {
        h *= up[i];
    }
    out[i] = h;
}
