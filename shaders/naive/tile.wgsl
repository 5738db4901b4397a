// Naive shared-memory matmul: 16 x 16 workgroup tiles, one element per invocation. Baseline of the dense family. m, n
// and k are multiples of 16.
import package::common::grid::workgroup_index;

struct Params {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<storage, read> lhs: array<f32>;
@group(0) @binding(1) var<storage, read> rhs: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

const SIDE = 16u;

var<workgroup> a_tile: array<array<f32, SIDE>, SIDE>;
var<workgroup> b_tile: array<array<f32, SIDE>, SIDE>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let index = workgroup_index(id, count);
    let across = params.n / SIDE;
    if index >= params.m / SIDE * across {
        return;
    }
    let row = index / across * SIDE + local.y;
    let column = index % across * SIDE + local.x;
    var sum = 0.0;
    for (var k = 0u; k < params.k; k += SIDE) {
        a_tile[local.y][local.x] = lhs[row * params.k + k + local.x];
        b_tile[local.y][local.x] = rhs[(k + local.y) * params.n + column];
        workgroupBarrier();
        for (var kk = 0u; kk < SIDE; kk++) {
            sum = fma(a_tile[local.y][kk], b_tile[kk][local.x], sum);
        }
        workgroupBarrier();
    }
    out[row * params.n + column] = sum;
}
