// Marks block rows without gradient: silent[row] = 1 if all of dy[rows, row * BLOCK ..][.., BLOCK] is 0, else 0. One
// invocation per block row.
import package::common::grid::workgroup_index;
import package::constants::BLOCK;

struct Params {
    row_blocks: u32,
    rows: u32,
}

@if(half) @group(0) @binding(0) var<storage, read> dy: array<f16>;
@if(!half) @group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> silent: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = workgroup_index(id, count) * 64u + local;
    if block >= params.row_blocks {
        return;
    }
    var quiet = true;
    for (var row = 0u; row < params.rows && quiet; row++) {
        let first = (row * params.row_blocks + block) * BLOCK;
        for (var unit = 0u; unit < BLOCK; unit++) {
            quiet = quiet && dy[first + unit] == 0.0;
        }
    }
    silent[block] = select(0u, 1u, quiet);
}
