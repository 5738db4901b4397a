// Linear blend, elementwise: out = a * x + b * out.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
    a: f32,
    b: f32,
}

// One element, or a vec4 where four divides the length; `n` counts these.
@if(!quads) alias Cell = f32;
@if(quads) alias Cell = vec4<f32>;

@group(0) @binding(0) var<storage, read> x: array<Cell>;
@group(0) @binding(2) var<storage, read_write> out: array<Cell>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i < params.n {
        // Where b is 0, out is not read: it may hold NaN.
        var sum = params.a * x[i];
        if params.b != 0.0 {
            sum = fma(Cell(params.b), out[i], sum);
        }
        out[i] = sum;
    }
}
