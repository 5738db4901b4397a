// Hash routing: each assignment is drawn by the token's identity from the experts not yet assigned. One invocation
// per token.
import package::common::grid::workgroup_index;
import package::common::random::threefry;
import package::common::topology::ABSENT;

struct Params {
    tokens: u32,
    experts: u32,
    assignments: u32,
    key_0: u32,
    key_1: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
// Token ids or labels, which mark padding.
@if(valid) @group(0) @binding(1) var<storage, read> valid: array<u32>;
@group(0) @binding(2) var<storage, read_write> experts: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// Value of `valid` for padding.
@if(valid) const IGNORED = 0xFFFFFFFFu;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let token = workgroup_index(id, count) * 64u + local;
    if token >= params.tokens {
        return;
    }
    var counts = true;
    @if(valid) {
        counts = valid[token] != IGNORED;
    }
    let first = token * params.assignments;
    for (var j = 0u; j < params.assignments; j++) {
        let bits = threefry(vec2<u32>(params.key_0, params.key_1), vec2<u32>(ids[token], j)).x;
        let nth = bits % (params.experts - j);
        // The nth expert not yet assigned: advance past the assigned ones up to it.
        var expert = nth;
        for (var turn = 0u; turn < j; turn++) {
            var passed = 0u;
            for (var i = first; i < first + j; i++) {
                passed += select(0u, 1u, experts[i] <= expert);
            }
            expert = nth + passed;
        }
        experts[first + j] = expert;
    }
    for (var i = first; i < first + params.assignments; i++) {
        experts[i] = select(ABSENT, experts[i], counts);
        weights[i] = select(0.0, 1.0 / f32(params.assignments), counts);
    }
}
