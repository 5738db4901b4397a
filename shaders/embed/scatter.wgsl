// The gradient of the table, CHUNK tokens at a time: out[chunk, row] = sum of grad[t] over the tokens t of the chunk
// with ids[t] == row, in ascending t.
//
// A workgroup owns 64 columns of one row and walks the chunk's ids, which are the same for all its invocations. So
// no two of them add to one element, and no atomics are needed.
import package::common::grid::workgroup_index;

struct Params {
    tokens: u32,
    columns: u32,
    vocabulary: u32,
    // Where the sums of these tokens stand.
    @if(window)
    first: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> grad: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

const CHUNK = 1024u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, count);
    let strips = (params.columns + 63u) / 64u;
    let column = index % strips * 64u + local;
    // Of all rows of all chunks.
    let line = index / strips;
    let row = line % params.vocabulary;
    let begin = line / params.vocabulary * CHUNK;
    if begin >= params.tokens || column >= params.columns {
        return;
    }
    let end = min(begin + CHUNK, params.tokens);
    var sum = 0.0;
    for (var token = begin; token < end; token++) {
        if ids[token] == row {
            sum += grad[token * params.columns + column];
        }
    }
    var at = line * params.columns + column;
    @if(window) {
        at += params.first;
    }
    out[at] = sum;
}
