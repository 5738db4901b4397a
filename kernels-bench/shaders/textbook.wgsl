// The matmul of every tutorial: 16 x 16 tiles through workgroup memory, one element an invocation. What fretwork's kernels
// are measured against. Sides are multiples of 16.
struct Sides {
    m: u32,
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<storage, read> lhs: array<f32>;
@group(0) @binding(1) var<storage, read> rhs: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> sides: Sides;

var<workgroup> left: array<array<f32, 16>, 16>;
var<workgroup> right: array<array<f32, 16>, 16>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) at: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    var sum = 0.0;
    for (var k = 0u; k < sides.k; k += 16u) {
        left[local.y][local.x] = lhs[at.y * sides.k + k + local.x];
        right[local.y][local.x] = rhs[(k + local.y) * sides.n + at.x];
        workgroupBarrier();
        for (var kk = 0u; kk < 16u; kk++) {
            sum = fma(left[local.y][kk], right[kk][local.x], sum);
        }
        workgroupBarrier();
    }
    out[at.y * sides.n + at.x] = sum;
}
