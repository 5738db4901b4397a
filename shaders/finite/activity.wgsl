// Signal check: sets bit 0 of a status word if any element is not 0, and bit 1 if any row differs from the first. A
// layer that sets neither passes no signal on.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
    width: u32,
    word: u32,
}

@if(half) @group(0) @binding(0) var<storage, read> x: array<f16>;
@if(!half) @group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> status: array<atomic<u32>>;
@group(0) @binding(7) var<uniform> params: Params;

const EACH = 16u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = workgroup_index(id, count) * (64u * EACH) + local;
    var flags = 0u;
    for (var e = 0u; e < EACH; e++) {
        let i = min(first + e * 64u, params.n - 1u);
        flags |= select(0u, 1u, x[i] != 0.0);
        flags |= select(0u, 2u, x[i] != x[i % params.width]);
    }
    if flags != 0u {
        atomicOr(&status[params.word], flags);
    }
}
