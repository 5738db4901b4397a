// Weighted combine of expert outputs: y[t] = sum over the token's assignments of weight * x[row of the assignment],
// in order. A workgroup is 32 invocations of one token, each with 4 columns, or 1 where four does not divide the row.
// Assignments without a row, such as ABSENT, add nothing.
import package::common::grid::workgroup_index;

struct Params {
    tokens: u32,
    assignments: u32,
    // Columns of x and y.
    n: u32,
    // Rows of x.
    rows: u32,
}

@if(!out_scalar) @group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@if(out_scalar) @group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@if(!out_scalar) @group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@if(out_scalar) @group(0) @binding(2) var<storage, read_write> y: array<f32>;
@if(weighted) @group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

const LANES = 32u;

@if(!out_scalar)
const VECTOR = 4u;
@if(!out_scalar)
alias Value = vec4<f32>;
@if(out_scalar)
const VECTOR = 1u;
@if(out_scalar)
alias Value = f32;

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.n / VECTOR;
    let across = (columns + LANES - 1u) / LANES;
    let index = workgroup_index(id, count);
    let token = index / across;
    let column = index % across * LANES + lane;
    if token >= params.tokens || column >= columns {
        return;
    }
    let at = token * columns + column;
    var sum = Value();
    @if(add) {
        sum = y[at];
    }
    for (var assignment = token * params.assignments; assignment < (token + 1u) * params.assignments; assignment++) {
        let place = places[assignment];
        if place < params.rows {
            let here = x[place * columns + column];
            @if(weighted) {
                sum = fma(Value(weights[assignment]), here, sum);
            }
            @if(!weighted) {
                sum += here;
            }
        }
    }
    y[at] = sum;
}
