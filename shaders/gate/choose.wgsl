// Top-k experts of a token by key, in descending order, ties in index order. One invocation per token.
//
// Each pass takes the largest key after the previous pass's, which needs no list of the experts taken so far.
import package::common::gate::{ordered, TOKEN_COUNTS};
import package::common::grid::workgroup_index;
import package::common::topology::ABSENT;

struct Params {
    tokens: u32,
    experts: u32,
    assignments: u32,
}

@group(0) @binding(0) var<storage, read> keys: array<f32>;
@if(bias) @group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read> tokens: array<f32>;
@group(0) @binding(3) var<storage, read_write> experts: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

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
    let first = token * params.experts;
    let counts = tokens[4u * token + TOKEN_COUNTS] > 0.0;
    var last = ABSENT;
    // Larger than any key.
    var last_key = 0xFFFFFFFFu;
    for (var j = 0u; j < params.assignments; j++) {
        var winner = ABSENT;
        var largest = 0u;
        for (var expert = 0u; expert < params.experts; expert++) {
            var x = keys[first + expert];
            @if(bias) {
                x += bias[expert];
            }
            let key = ordered(x);
            let behind = key < last_key || (key == last_key && expert > last);
            if counts && behind && (winner == ABSENT || key > largest) {
                winner = expert;
                largest = key;
            }
        }
        experts[token * params.assignments + j] = winner;
        last = winner;
        last_key = largest;
    }
}
