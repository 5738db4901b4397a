// Expert probabilities of a token, and the per-token sums that losses and gradients need. One invocation per token.
//
// Padding, and tokens with a NaN or infinite logit, do not count: all their probabilities are 0.
import package::common::activation::sigmoid;
import package::common::gate::{is_finite, small_exp};
import package::common::grid::workgroup_index;

struct Params {
    tokens: u32,
    experts: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
// Token ids or labels, which mark padding.
@if(valid) @group(0) @binding(1) var<storage, read> valid: array<u32>;
@group(0) @binding(2) var<storage, read_write> probs: array<f32>;
// Per token: log-sum-exp of the logits; its square; 1 if the token counts, else 0; sum of the probabilities.
@group(0) @binding(3) var<storage, read_write> tokens: array<f32>;
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
    let first = token * params.experts;
    let end = first + params.experts;

    var counts = true;
    @if(valid) {
        counts = valid[token] != IGNORED;
    }
    var largest = logits[first];
    for (var i = first; i < end; i++) {
        counts = counts && is_finite(logits[i]);
        largest = max(largest, logits[i]);
    }
    if !counts {
        for (var i = first; i < end; i++) {
            probs[i] = 0.0;
        }
        tokens[4u * token] = 0.0;
        tokens[4u * token + 1u] = 0.0;
        tokens[4u * token + 2u] = 0.0;
        // Nonzero, because it is a divisor.
        tokens[4u * token + 3u] = 1.0;
        return;
    }

    var sum = 0.0;
    for (var i = first; i < end; i++) {
        sum += small_exp(logits[i] - largest);
    }
    var total = 1.0;
    @if(!sigmoid) {
        for (var i = first; i < end; i++) {
            probs[i] = small_exp(logits[i] - largest) / sum;
        }
    }
    @if(sigmoid) {
        total = 0.0;
        for (var i = first; i < end; i++) {
            let probability = sigmoid(logits[i]);
            probs[i] = probability;
            total += probability;
        }
    }
    let lse = log(sum) + largest;
    tokens[4u * token] = lse;
    tokens[4u * token + 1u] = lse * lse;
    tokens[4u * token + 2u] = 1.0;
    tokens[4u * token + 3u] = total;
}
