// Backward pass of the experts' hidden units and of the combine weights. With g the gradient of a row's hidden units
// before weighting:
//
//   dots   = sum over the row of g * h           gradient of the row's weight
//   hidden = weight * h                          operand of the second matrix's weight gradient
//   grad   = weight * g * activation'(pre)       replaces g
//   up     = weight * g * activation(pre)        replaces up, where h = activation(pre) * up
//
// A workgroup owns the rows of a tile, up to 256 invocations, along all of its blocks: the order of a row's sum
// depends only on the width of its expert.
import package::common::activation::{activate, derivative};
import package::common::grid::workgroup_index;
import package::common::topology::{ROW_BLOCKS, topology, row_line, line_slot};
import package::constants::BLOCK;

struct Params {
    // Slope of the activation's negative side.
    slope: f32,
}

@group(0) @binding(0) var<storage, read_write> grad: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> pre: array<vec4<f32>>;
@if(gated) @group(0) @binding(2) var<storage, read_write> up: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> hidden: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> dots: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

const QUADS = BLOCK / 4u;
const ROWS = min(BLOCK, 256u / QUADS);
const PARTS = BLOCK / ROWS;

var<workgroup> sums: array<f32, QUADS * ROWS>;

@compute @workgroup_size(QUADS, ROWS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let index = workgroup_index(id, count);
    let tile = index / PARTS;
    if tile >= topology[ROW_BLOCKS] {
        return;
    }
    let line = row_line(tile);
    if line.begin == line.end {
        return;
    }
    let within = index % PARTS * ROWS + local.y;
    let row = tile * BLOCK + within;
    let weight = weights[row];

    var sum = vec4<f32>();
    for (var entry = line.begin; entry < line.end; entry++) {
        let at = (line_slot(line, entry) * BLOCK + within) * QUADS + local.x;
        let x = pre[at];
        let g = grad[at];
        let activated = vec4<f32>(
            activate(x.x, params.slope), activate(x.y, params.slope),
            activate(x.z, params.slope), activate(x.w, params.slope),
        );
        let slope = vec4<f32>(
            derivative(x.x, params.slope), derivative(x.y, params.slope),
            derivative(x.z, params.slope), derivative(x.w, params.slope),
        );
        @if(!gated) {
            sum = fma(g, activated, sum);
            hidden[at] = weight * activated;
            grad[at] = weight * g * slope;
        }
        @if(gated) {
            let u = up[at];
            let h = activated * u;
            sum = fma(g, h, sum);
            hidden[at] = weight * h;
            grad[at] = weight * g * slope * u;
            up[at] = weight * g * activated;
        }
    }
    sums[local.y * QUADS + local.x] = (sum.x + sum.y) + (sum.z + sum.w);
    workgroupBarrier();

    if local.x == 0u {
        var dot = 0.0;
        for (var quad = 0u; quad < QUADS; quad++) {
            dot += sums[local.y * QUADS + quad];
        }
        dots[row] = dot;
    }
}
