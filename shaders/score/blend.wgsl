// Scores smoothed over steps: smoothed = decay * smoothed + scores.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
    decay: f32,
}

@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> smoothed: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i < params.n {
        smoothed[i] = fma(params.decay, smoothed[i], scores[i]);
    }
}
