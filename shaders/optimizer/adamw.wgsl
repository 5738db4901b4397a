// AdamW (Loshchilov and Hutter), PyTorch's conventions. The bias corrections depend on the step alone, so the host
// computes them.
import package::common::grid::workgroup_index;
import package::common::step::now;

struct Params {
    n: u32,
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<storage, read_write> values: array<f32>;
@group(0) @binding(1) var<storage, read> grads: array<f32>;
@group(0) @binding(2) var<storage, read_write> first: array<f32>;
@group(0) @binding(3) var<storage, read_write> second: array<f32>;
@if(mask) @group(0) @binding(5) var<storage, read> mask: array<u32>;
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
    @if(mask) {
        if ((mask[i / 32u] >> (i % 32u)) & 1u) == 0u {
            values[i] = 0.0;
            return;
        }
    }
    let g = grads[i];
    let m = fma(params.beta_1, first[i], (1.0 - params.beta_1) * g);
    let v = fma(params.beta_2, second[i], (1.0 - params.beta_2) * g * g);
    first[i] = m;
    second[i] = v;
    let decayed = values[i] * (1.0 - now.learning_rate * params.weight_decay);
    let direction = m * now.correction_1 / (sqrt(v * now.correction_2) + params.epsilon);
    values[i] = fma(-now.learning_rate, direction, decayed);
}
