// Layer normalisation, gradient of the input, one invocation per row. With g = grad * gain and h = (x - mean) * scale:
// out = scale * (g - mean(g) - h * mean(g * h)).
import package::common::grid::workgroup_index;

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> moments: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
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
    let mean = moments[2u * row];
    let factor = moments[2u * row + 1u];
    var sum = 0.0;
    var along = 0.0;
    for (var column = 0u; column < params.columns; column++) {
        let g = grad[first + column] * gain[column];
        sum += g;
        along = fma(g, (x[first + column] - mean) * factor, along);
    }
    sum /= f32(params.columns);
    along /= f32(params.columns);
    for (var column = 0u; column < params.columns; column++) {
        let i = first + column;
        let normed = (x[i] - mean) * factor;
        var slope = factor * fma(-along, normed, grad[i] * gain[column] - sum);
        // Adds to the gradient of a second path to x, such as a residual connection.
        @if(add) {
            slope = out[i] + slope;
        }
        out[i] = slope;
    }
}
