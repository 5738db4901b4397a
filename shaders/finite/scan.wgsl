// Non-finite check: sets a flag in a status word if any element is NaN or infinite. Bits are tested, because a driver
// may assume finite values and fold a float comparison.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
    word: u32,
    flag: u32,
}

@if(half) @group(0) @binding(0) var<storage, read> x: array<f16>;
@if(!half) @group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> status: array<atomic<u32>>;
@group(0) @binding(7) var<uniform> params: Params;

const EXPONENT = 0x7F800000u;
const EACH = 16u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = workgroup_index(id, count) * (64u * EACH) + local;
    var bad = false;
    for (var e = 0u; e < EACH; e++) {
        let i = min(first + e * 64u, params.n - 1u);
        bad = bad || (bitcast<u32>(f32(x[i])) & EXPONENT) == EXPONENT;
    }
    if bad {
        atomicOr(&status[params.word], params.flag);
    }
}
