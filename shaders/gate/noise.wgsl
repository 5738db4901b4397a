// Noisy logits: noisy = logits + draw * spread(noise), elementwise.
import package::common::gate::is_finite;
import package::common::grid::workgroup_index;
import package::common::noise::{draw, spread};

struct Params {
    n: u32,
    key_0: u32,
    key_1: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> noise: array<f32>;
@group(0) @binding(2) var<storage, read_write> noisy: array<f32>;
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
    // Non-finite values pass through, for the scan to find.
    if !is_finite(noise[i]) {
        noisy[i] = noise[i];
        return;
    }
    noisy[i] = logits[i] + draw(vec2<u32>(params.key_0, params.key_1), i) * spread(noise[i]);
}
