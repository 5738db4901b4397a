// Applies the loss scale: out = x * scale, at the start of the backward pass, to f16 if the logits' gradient is
// stored so.
import package::common::grid::workgroup_index;
import package::common::half::{Out, stored};
import package::common::loss_scale::LossScale;

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> loss_scale: LossScale;
@group(0) @binding(2) var<storage, read_write> out: array<Out>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i < params.n {
        out[i] = stored(x[i] * loss_scale.scale);
    }
}
