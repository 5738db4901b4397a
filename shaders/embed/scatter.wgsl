// Gradient of the embedding table, per chunk of CHUNK tokens: out[chunk, row] = sum of grad[t] over the chunk's
// tokens linked to the row, in ascending t.
//
// A workgroup owns 64 columns of one row and walks its list: no two invocations write the same element, and no
// atomics are needed.
import package::common::grid::workgroup_index;
import package::embed::link::{CHUNK, END};

struct Params {
    columns: u32,
    vocabulary: u32,
    chunks: u32,
    // Offset in `out` of the window's first chunk.
    @if(window)
    first: u32,
}

@group(0) @binding(0) var<storage, read> heads: array<u32>;
@group(0) @binding(1) var<storage, read> next: array<u32>;
@group(0) @binding(2) var<storage, read> grad: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, count);
    let strips = (params.columns + 63u) / 64u;
    let column = index % strips * 64u + local;
    // Linear index of (chunk, row).
    let line = index / strips;
    let chunk = line / params.vocabulary;
    if chunk >= params.chunks || column >= params.columns {
        return;
    }
    let begin = chunk * CHUNK;
    var sum = 0.0;
    for (var token = heads[line]; token != END; token = next[begin + token]) {
        sum += grad[(begin + token) * params.columns + column];
    }
    var at = line * params.columns + column;
    @if(window) {
        at += params.first;
    }
    out[at] = sum;
}
