// Inverse Euclidean norm of every column, 0 for a zero column. One invocation per column.
import package::common::grid::workgroup_index;

struct Params {
    rows: u32,
    columns: u32,
}

@if(half) @group(0) @binding(0) var<storage, read> x: array<f16>;
@if(!half) @group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let column = workgroup_index(id, count) * 64u + local;
    if column >= params.columns {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < params.rows; row++) {
        let v = f32(x[row * params.columns + column]);
        sum = fma(v, v, sum);
    }
    out[column] = select(0.0, 1.0 / sqrt(max(sum, 1e-38)), sum > 0.0);
}
