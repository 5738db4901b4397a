// Squared error: half of it per row, and the gradient of the output. One invocation per row.
import package::common::grid::workgroup_index;
import package::common::step::now;

struct Params {
    rows: u32,
    columns: u32,
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
    var sum = 0.0;
    for (var i = row * params.columns; i < (row + 1u) * params.columns; i++) {
        let error = output[i] - wanted[i];
        sum = fma(0.5 * error, error, sum);
        grad[i] = now.row_scale * error;
    }
    report[place] = sum;
}
