// out[t] = table[ids[t]] + positions[t % context], element by element. An id that is no row of the table adds nothing.
import package::common::grid::workgroup_index;

struct Params {
    // Elements of `out`.
    n: u32,
    columns: u32,
    vocabulary: u32,
    context: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read> positions: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i >= params.n {
        return;
    }
    let token = i / params.columns;
    let column = i % params.columns;
    let row = ids[token];
    // Read whether it is wanted or not, so from a row that is there.
    let found = table[min(row, params.vocabulary - 1u) * params.columns + column];
    out[i] = positions[token % params.context * params.columns + column] + select(0.0, found, row < params.vocabulary);
}
