// Column sums over chunks of CHUNK rows: out[chunk, column]. The host repeats the kernel until one row is left,
// therefore the summation order depends only on the shape.
import package::common::grid::workgroup_index;

struct Params {
    rows: u32,
    columns: u32,
    // Offset in `out` of the window's first chunk.
    @if(window)
    first: u32,
}

// One column, or a vec4 of four; `columns` counts these.
@if(!quads) alias Column = f32;
@if(quads) alias Column = vec4<f32>;
@if(!half) alias Stored = Column;
@if(half && !quads) alias Stored = f16;
@if(half && quads) alias Stored = vec4<f16>;

@group(0) @binding(0) var<storage, read> x: array<Stored>;
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
    // A chunk split over several windows continues from the partial sum.
    @if(continued) {
        sum = out[at];
    }
    for (var row = first; row < end; row++) {
        sum += Column(x[row * params.columns + column]);
    }
    // With `add`, accumulates into a running total.
    @if(add) {
        sum = out[at] + sum;
    }
    out[at] = sum;
}
