// Mean squared error: that of each row, and the gradient of the output. One invocation per row.
//
// Rows whose first target is NaN are padding: loss and gradient are 0.
import package::common::grid::workgroup_index;
import package::common::step::now;

struct Params {
    rows: u32,
    columns: u32,
    // 1 / columns.
    share: f32,
    // Index of the window's first row.
    @if(window)
    first: u32,
}

@group(0) @binding(0) var<storage, read> output: array<f32>;
@group(0) @binding(1) var<storage, read> wanted: array<f32>;
@group(0) @binding(2) var<storage, read_write> report: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad: array<f32>;
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
    var place = row;
    @if(window) {
        place += params.first;
    }
    let begin = row * params.columns;
    let end = begin + params.columns;
    // By its bits: drivers may assume that no float is NaN.
    let counts = (bitcast<u32>(wanted[begin]) & 0x7FFFFFFFu) <= 0x7F800000u;
    let slope = now.row_scale * 2.0 * params.share;
    var sum = 0.0;
    for (var i = begin; i < end; i++) {
        let error = select(0.0, output[i] - wanted[i], counts);
        sum = fma(error, error, sum);
        grad[i] = slope * error;
    }
    report[place] = sum * params.share;
}
