// Dot products of a gradient with the directions of a random base, which are generated here: sums over the cells of a chunk, for the
// eight directions of a group. Directions have entries of 1 and -1; `basis/sum` scales the sums.
//
// The order of each sum is fixed: element after element of the four places of a vec4, then (0 + 1) + (2 + 3).
import package::common::basis::{Part, parts, signed, step_key, within};
import package::common::grid::workgroup_index;
import package::common::random::threefry;
@if(redraw)
import package::common::step::now;

struct Params {
    parts: u32,
    chunks: u32,
    // Groups of eight directions.
    groups: u32,
    // Cells of eight elements in a chunk.
    cells: u32,
    // Row of `partials` of the first chunk.
    first_row: u32,
}

// One element, or a vec4 where four divides the offsets of all parameters.
@if(!quads) @group(0) @binding(0) var<storage, read> grads: array<f32>;
@if(quads) @group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
// A row for each chunk, two vec4 for each group.
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

// Four elements of a parameter, 0 past its end.
@if(quads)
fn load(part: Part, element: u32) -> vec4<f32> {
    var x = vec4<f32>();
    if element < part.len {
        x = select(x, grads[(part.first + element) / 4u], within(element, part.len));
    }
    return x;
}

@if(!quads)
fn load(part: Part, element: u32) -> vec4<f32> {
    var x = vec4<f32>();
    for (var e = 0u; e < 4u; e++) {
        if element + e < part.len {
            x[e] = grads[part.first + element + e];
        }
    }
    return x;
}

fn total(x: vec4<f32>) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

// Part of a chunk: the last whose first chunk is not behind it.
fn part_of(chunk: u32) -> Part {
    var low = 0u;
    var high = params.parts;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if parts[middle].chunk <= chunk {
            low = middle;
        } else {
            high = middle;
        }
    }
    return parts[low];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    let chunk = i / params.groups;
    let group = i % params.groups;
    if chunk >= params.chunks {
        return;
    }
    let part = part_of(chunk);
    var step = 0u;
    @if(redraw) {
        step = now.index;
    }
    let key = step_key(part, step);
    let first = (chunk - part.chunk) * params.cells;
    let end = min(first + params.cells, (part.len + 7u) / 8u);
    var a = vec4<f32>();
    var b = vec4<f32>();
    var c = vec4<f32>();
    var d = vec4<f32>();
    var e = vec4<f32>();
    var f = vec4<f32>();
    var g = vec4<f32>();
    var h = vec4<f32>();
    for (var cell = first; cell < end; cell++) {
        let bits = threefry(key, vec2<u32>(part.offset + cell, group));
        let low = load(part, 8u * cell);
        let high = load(part, 8u * cell + 4u);
        a = a + signed(low, bits.x) + signed(high, bits.x >> 4u);
        b = b + signed(low, bits.x >> 8u) + signed(high, bits.x >> 12u);
        c = c + signed(low, bits.x >> 16u) + signed(high, bits.x >> 20u);
        d = d + signed(low, bits.x >> 24u) + signed(high, bits.x >> 28u);
        e = e + signed(low, bits.y) + signed(high, bits.y >> 4u);
        f = f + signed(low, bits.y >> 8u) + signed(high, bits.y >> 12u);
        g = g + signed(low, bits.y >> 16u) + signed(high, bits.y >> 20u);
        h = h + signed(low, bits.y >> 24u) + signed(high, bits.y >> 28u);
    }
    let at = ((params.first_row + chunk) * params.groups + group) * 2u;
    partials[at] = vec4<f32>(total(a), total(b), total(c), total(d));
    partials[at + 1u] = vec4<f32>(total(e), total(f), total(g), total(h));
}
