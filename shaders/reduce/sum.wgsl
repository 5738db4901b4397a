// Sums of columns, CHUNK rows at a time and one after the other: out[chunk, column]. The host repeats it until one
// row is left. So the order of every sum is a matter of the shape alone.
import package::common::grid::workgroup_index;

struct Params {
    rows: u32,
    columns: u32,
    // Where the sums of these rows stand.
    @if(window)
    first: u32,
}

// A column, or four neighbours, counted as one.
@if(!quads) alias Column = f32;
@if(quads) alias Column = vec4<f32>;

@group(0) @binding(0) var<storage, read> x: array<Column>;
@group(0) @binding(1) var<storage, read_write> out: array<Column>;
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
    var at = i;
    @if(window) {
        at += params.first;
    }
    var sum = Column();
    // A chunk that lies in several windows: on from the sum of those before.
    @if(continued) {
        sum = out[at];
    }
    for (var row = first; row < end; row++) {
        sum += x[row * params.columns + column];
    }
    // Running totals start from what is there already.
    @if(add) {
        sum = out[at] + sum;
    }
    out[at] = sum;
}
