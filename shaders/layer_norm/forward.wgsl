// Layer normalisation, one invocation per row: mean and scale = 1 / sqrt(variance + epsilon) of each row, and
// out = (x - mean) * scale * gain + bias.
import package::common::grid::workgroup_index;
import package::common::half::{Out, stored};

struct Params {
    rows: u32,
    columns: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> gain: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
// Per row: mean, then scale.
@group(0) @binding(3) var<storage, read_write> moments: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<Out>;
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
        sum += x[first + column];
    }
    let mean = sum / f32(params.columns);
    // A second pass: the difference of two moments would cancel where the mean is far from 0.
    var squares = 0.0;
    for (var column = 0u; column < params.columns; column++) {
        let v = x[first + column] - mean;
        squares = fma(v, v, squares);
    }
    let factor = 1.0 / sqrt(squares / f32(params.columns) + params.epsilon);
    for (var column = 0u; column < params.columns; column++) {
        out[first + column] = stored(fma((x[first + column] - mean) * factor, gain[column], bias[column]));
    }
    moments[2u * row] = mean;
    moments[2u * row + 1u] = factor;
}
