// Scores by which experts select tokens. One invocation per token. Scores are float bits: a set sign bit excludes an
// entry, and the bits of the others ascend with the values.
//
// Rows are tokens, columns experts. With `only`, where experts select within each group of tokens, row i holds the
// i-th token of every group, and columns are (group, expert) pairs.
import package::common::gate::TOKEN_COUNTS;
import package::common::grid::workgroup_index;

struct Params {
    tokens: u32,
    experts: u32,
    @if(favour || only)
    assignments: u32,
    // Tokens per group.
    @if(only)
    group: u32,
}

@if(!only) @group(0) @binding(0) var<storage, read> probs: array<u32>;
@if(!only) @group(0) @binding(1) var<storage, read> tokens: array<f32>;
@if(favour || only) @group(0) @binding(2) var<storage, read> experts: array<u32>;
@if(only) @group(0) @binding(3) var<storage, read> weights: array<u32>;
@group(0) @binding(4) var<storage, read_write> scores: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

const NO_PART = 0x80000000u;
// Added to the bits of a favoured probability: above every other one, which is at most 1 (0x3F800000).
const FAVOUR = 0x40000000u;

// Offset of a token's scores.
fn first_score(token: u32) -> u32 {
    @if(!only) {
        return token * params.experts;
    }
    @if(only) {
        let groups = params.tokens / params.group;
        return ((token % params.group) * groups + token / params.group) * params.experts;
    }
}

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
    let row = token * params.experts;
    let to = first_score(token);
    for (var expert = 0u; expert < params.experts; expert++) {
        var score = NO_PART;
        @if(!only) {
            if tokens[4u * token + TOKEN_COUNTS] > 0.0 {
                score = probs[row + expert];
            }
        }
        scores[to + expert] = score;
    }
    @if(favour || only) {
        for (var j = 0u; j < params.assignments; j++) {
            let i = token * params.assignments + j;
            let expert = experts[i];
            if expert < params.experts {
                @if(favour) {
                    scores[to + expert] = probs[row + expert] + FAVOUR;
                }
                @if(only) {
                    scores[to + expert] = weights[i];
                }
            }
        }
    }
}
