// Embedding lookup: out[t] = table[ids[t]] + positions[t % context]. An id that is no row of the table adds nothing.
//
// A workgroup covers 64 columns of TURNS tokens, which amortises the index arithmetic.
import package::common::grid::workgroup_index;

struct Params {
    tokens: u32,
    columns: u32,
    vocabulary: u32,
    context: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read> positions: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

const TURNS = 16u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, count);
    let strips = (params.columns + 63u) / 64u;
    let column = index % strips * 64u + local;
    let first = index / strips * TURNS;
    if column >= params.columns {
        return;
    }
    var position = first % params.context;
    for (var token = first; token < min(first + TURNS, params.tokens); token++) {
        let row = ids[token];
        // Clamped, because the load is unconditional.
        let found = table[min(row, params.vocabulary - 1u) * params.columns + column];
        let place = positions[position * params.columns + column];
        out[token * params.columns + column] = place + select(0.0, found, row < params.vocabulary);
        position = select(position + 1u, 0u, position + 1u == params.context);
    }
}
