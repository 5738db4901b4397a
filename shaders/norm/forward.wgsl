// RMS normalisation, one invocation per row: scale[row] = 1 / sqrt(mean(x^2) + epsilon), out = x * scale[row] * gain.
import package::common::grid::workgroup_index;
import package::common::half::{Out, stored};

struct Params {
    rows: u32,
    columns: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> gain: array<f32>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<Out>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup_index(id, count) * 64u + local;
    if row >= params.rows {
        return;
    }
    let first = row * params.columns;
    var sum = 0.0;
    for (var column = 0u; column < params.columns; column++) {
        let v = x[first + column];
        sum = fma(v, v, sum);
    }
    let factor = 1.0 / sqrt(sum / f32(params.columns) + params.epsilon);
    for (var column = 0u; column < params.columns; column++) {
        out[first + column] = stored(x[first + column] * factor * gain[column]);
    }
    scale[row] = factor;
}
