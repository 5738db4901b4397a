// Update of connection strengths (sparse connectivity learning, Tang et al. 2022, by block): a block is present while
// its connection is not negative. With a straight-through estimator for the step function, a connection's gradient is
// that of a scalar factor of its block. It is divided by the largest magnitude in its block row, because gradient
// scales differ between outputs; `cost` is added for every connection.
//
// One invocation per block row.
import package::common::grid::workgroup_index;

struct Params {
    row_blocks: u32,
    col_blocks: u32,
    rate: f32,
    cost: f32,
}

@group(0) @binding(0) var<storage, read> grads: array<f32>;
@group(0) @binding(2) var<storage, read_write> connections: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup_index(id, count) * 64u + local;
    if row >= params.row_blocks {
        return;
    }
    let first = row * params.col_blocks;
    var largest = 0.0;
    for (var i = first; i < first + params.col_blocks; i++) {
        largest = max(largest, abs(grads[i]));
    }
    let scale = select(0.0, 1.0 / largest, largest > 1e-30);
    for (var i = first; i < first + params.col_blocks; i++) {
        let slope = fma(grads[i], scale, params.cost);
        connections[i] = max(fma(-params.rate, slope, connections[i]), -1.0);
    }
}
