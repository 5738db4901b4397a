// First pass of the norms of LARS: the sums of squares of the weights and of the gradients of each chunk of a parameter.
import package::common::grid::workgroup_index;
import package::common::parameters::{table, row_of, sum_pairs, CHUNK, EACH};
@if(scaled)
import package::common::loss_scale::LossScale;

struct Params {
    rows: u32,
    chunks: u32,
    // Place in `partials` of the window's first chunk.
    first_chunk: u32,
}

// One element, or a vec4 where four divides the offsets of all parameters.
@if(!quads) alias Cell = f32;
@if(quads) alias Cell = vec4<f32>;

@group(0) @binding(0) var<storage, read> values: array<Cell>;
@group(0) @binding(1) var<storage, read> grads: array<Cell>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec2<f32>>;
@if(scaled) @group(0) @binding(6) var<storage, read> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;

@if(quads)
fn square(x: Cell) -> f32 {
    return dot(x, x);
}

@if(!quads)
fn square(x: Cell) -> f32 {
    return x * x;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = workgroup_index(id, count);
    if chunk >= params.chunks {
        return;
    }
    let row = table[row_of(chunk, params.rows)];
    let first = row.x + (chunk - row.z) * CHUNK + local;
    var squares = vec2<f32>();
    for (var e = 0u; e < EACH; e++) {
        let i = first + e * 64u;
        if i < row.y {
            var g = grads[i];
            // Before it is squared, against overflow.
            @if(scaled) {
                g *= loss_scale.factor;
            }
            squares += vec2<f32>(square(values[i]), square(g));
        }
    }
    let sum = sum_pairs(local, squares);
    if local == 0u {
        partials[params.first_chunk + chunk] = sum;
    }
}
