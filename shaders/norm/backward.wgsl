// RMS normalisation, gradient of the input, one invocation per row. With g = grad * gain and r = scale[row]: out = r
// * (g - x * r^2 * mean(g * x)).
import package::common::grid::workgroup_index;

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
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
    var sum = 0.0;
    for (var column = 0u; column < params.columns; column++) {
        sum = fma(grad[first + column] * gain[column], x[first + column], sum);
    }
    let factor = scale[row];
    let along = factor * factor * (sum / f32(params.columns));
    for (var column = 0u; column < params.columns; column++) {
        let i = first + column;
        var slope = factor * fma(-along, x[i], grad[i] * gain[column]);
        // Adds to the gradient of a second path to x, such as a residual connection.
        @if(add) {
            slope = out[i] + slope;
        }
        out[i] = slope;
    }
}
