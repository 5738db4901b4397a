// Layer normalisation, gradient of the gain: partial sums over chunks of CHUNK rows, out[chunk, column] = sum of grad * (x - mean)
// * scale.
import package::common::grid::workgroup_index;

struct Params {
    rows: u32,
    columns: u32,
    // Offset in `out` of the window's first chunk.
    @if(window)
    first: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> moments: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

const CHUNK = 256u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    let column = i % params.columns;
    let first = i / params.columns * CHUNK;
    if first >= params.rows {
        return;
    }
    let end = min(first + CHUNK, params.rows);
    var sum = 0.0;
    for (var row = first; row < end; row++) {
        let at = row * params.columns + column;
        sum = fma(grad[at] * moments[2u * row + 1u], x[at] - moments[2u * row], sum);
    }
    var at = i;
    @if(window) {
        at += params.first;
    }
    out[at] = sum;
}
