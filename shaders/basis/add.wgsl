// Moves values along the directions of a random base, which are generated here: value -= sum of steps with the signs of the element.
// One invocation per cell of eight elements; steps are added in the order of the directions, and then subtracted from the value.
import package::common::basis::{Part, parts, signed, step_key, within};
import package::common::grid::workgroup_index;
import package::common::random::threefry;
@if(redraw)
import package::common::step::now;

struct Params {
    parts: u32,
    cells: u32,
    // Groups of eight directions.
    groups: u32,
    // Parameters with coordinates of their own, or 1.
    layers: u32,
}

// One element, or a vec4 where four divides the offsets of all parameters.
@if(!quads) @group(0) @binding(0) var<storage, read_write> values: array<f32>;
@if(quads) @group(0) @binding(0) var<storage, read_write> values: array<vec4<f32>>;
// Coordinates of all layers, and behind them the steps, two vec4 for each group.
@group(0) @binding(1) var<storage, read> coordinates: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

// Subtracts from four elements of a parameter, those that it has.
@if(quads)
fn subtract(part: Part, element: u32, x: vec4<f32>) {
    if element < part.len {
        let at = (part.first + element) / 4u;
        let old = values[at];
        values[at] = select(old, old - x, within(element, part.len));
    }
}

@if(!quads)
fn subtract(part: Part, element: u32, x: vec4<f32>) {
    for (var e = 0u; e < 4u; e++) {
        if element + e < part.len {
            let at = part.first + element + e;
            values[at] = values[at] - x[e];
        }
    }
}

// Part of a cell: the last whose first cell is not behind it.
fn part_of(cell: u32) -> Part {
    var low = 0u;
    var high = params.parts;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if parts[middle].cell <= cell {
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
    if i >= params.cells {
        return;
    }
    let part = part_of(i);
    let cell = i - part.cell;
    var step = 0u;
    @if(redraw) {
        step = now.index;
    }
    let key = step_key(part, step);
    let first = (params.layers + part.layer) * params.groups * 2u;
    var low = vec4<f32>();
    var high = vec4<f32>();
    for (var group = 0u; group < params.groups; group++) {
        let bits = threefry(key, vec2<u32>(part.offset + cell, group));
        let x = coordinates[first + 2u * group];
        let y = coordinates[first + 2u * group + 1u];
        low = low + signed(vec4<f32>(x.x), bits.x) + signed(vec4<f32>(x.y), bits.x >> 8u);
        high = high + signed(vec4<f32>(x.x), bits.x >> 4u) + signed(vec4<f32>(x.y), bits.x >> 12u);
        low = low + signed(vec4<f32>(x.z), bits.x >> 16u) + signed(vec4<f32>(x.w), bits.x >> 24u);
        high = high + signed(vec4<f32>(x.z), bits.x >> 20u) + signed(vec4<f32>(x.w), bits.x >> 28u);
        low = low + signed(vec4<f32>(y.x), bits.y) + signed(vec4<f32>(y.y), bits.y >> 8u);
        high = high + signed(vec4<f32>(y.x), bits.y >> 4u) + signed(vec4<f32>(y.y), bits.y >> 12u);
        low = low + signed(vec4<f32>(y.z), bits.y >> 16u) + signed(vec4<f32>(y.w), bits.y >> 24u);
        high = high + signed(vec4<f32>(y.z), bits.y >> 20u) + signed(vec4<f32>(y.w), bits.y >> 28u);
    }
    subtract(part, 8u * cell, low);
    subtract(part, 8u * cell + 4u, high);
}
