// Gradient of the gate logits, from the gradient of the assignment weights and the slopes of the balance losses. One
// invocation per token.
//
// A first pass over all experts writes the softmax and loss terms; a second adds the terms of the assigned experts.
import package::common::gate::{ordered, small_exp, TOKEN_COUNTS, TOKEN_LSE, TOKEN_TOTAL};
import package::common::grid::workgroup_index;
import package::common::topology::ABSENT;

struct Params {
    tokens: u32,
    experts: u32,
    assignments: u32,
}

@group(0) @binding(0) var<storage, read> probs: array<f32>;
@group(0) @binding(1) var<storage, read> tokens: array<f32>;
@group(0) @binding(2) var<storage, read> experts: array<u32>;
@if(chosen) @group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> weights_grad: array<f32>;
@if(losses) @group(0) @binding(5) var<storage, read> slopes: array<f32>;
@if(random || (losses && sigmoid)) @group(0) @binding(6) var<storage, read> logits: array<f32>;
@group(0) @binding(9) var<storage, read_write> logits_grad: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// Gradient of the weight of assignment i, losses included.
fn grad_of(i: u32) -> f32 {
    var grad = weights_grad[i];
    @if(losses) {
        grad += slopes[params.experts + experts[i]];
    }
    return grad;
}

// Gradient of an assigned expert's probability through the weights.
fn assigned_grad(i: u32, mean: f32, sum: f32) -> f32 {
    @if(chosen) {
        return 0.0;
    }
    @if(renormalised) {
        return (grad_of(i) - mean) / sum;
    }
    @if(!chosen && !renormalised) {
        return grad_of(i);
    }
}

// Diagonal term of the score function's Jacobian: p * (1 - p) for a sigmoid; p for a softmax, whose mean term is
// subtracted apart.
fn own_slope(probability: f32) -> f32 {
    @if(sigmoid) {
        return probability * (1.0 - probability);
    }
    @if(!sigmoid) {
        return probability;
    }
}

// Gradient of an expert's probability through the balance losses.
fn shared_grad(expert: u32, balance: f32, total: f32) -> f32 {
    var grad = 0.0;
    @if(losses) {
        grad = (slopes[expert] - balance) / total;
    }
    return grad;
}

@if(random)
fn second_expert(row: u32, chosen: u32) -> u32 {
    var second = ABSENT;
    var largest = 0u;
    for (var expert = 0u; expert < params.experts; expert++) {
        let key = ordered(logits[row + expert]);
        if expert != chosen && (second == ABSENT || key > largest) {
            second = expert;
            largest = key;
        }
    }
    return second;
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
    let first = token * params.assignments;
    let end = first + params.assignments;
    if tokens[4u * token + TOKEN_COUNTS] <= 0.0 {
        for (var expert = 0u; expert < params.experts; expert++) {
            logits_grad[row + expert] = 0.0;
        }
        return;
    }

    // A second expert dropped at random has no gradient of its own, but the first weight was normalised by both.
    @if(random) var left_out = ABSENT;
    @if(random) {
        if experts[first + 1u] == ABSENT {
            left_out = second_expert(row, experts[first]);
        }
    }
    // Weighted mean of the assignments' gradients, and the normaliser of the weights.
    var mean = 0.0;
    var sum = 1e-9;
    @if(renormalised) {
        for (var i = first; i < end; i++) {
            if experts[i] < params.experts {
                let probability = probs[row + experts[i]];
                mean += grad_of(i) * probability;
                sum += probability;
            }
        }
        @if(random) {
            if left_out != ABSENT {
                sum += probs[row + left_out];
            }
        }
        mean /= sum;
    }
    @if(chosen) {
        for (var i = first; i < end; i++) {
            if experts[i] < params.experts {
                mean += grad_of(i) * weights[i];
            }
        }
    }

    // Losses use shares p / total, with total = 1 for a softmax. Sigmoid: subtract the mean of the slopes; softmax:
    // its backward does so below.
    let total = tokens[4u * token + TOKEN_TOTAL];
    var balance = 0.0;
    @if(losses && sigmoid) {
        for (var expert = 0u; expert < params.experts; expert++) {
            balance += slopes[expert] * probs[row + expert];
        }
        balance /= total;
    }
    var mean_grad = 0.0;
    @if(!sigmoid) {
        for (var expert = 0u; expert < params.experts; expert++) {
            mean_grad += shared_grad(expert, balance, total) * probs[row + expert];
        }
        for (var i = first; i < end; i++) {
            if experts[i] < params.experts {
                mean_grad += assigned_grad(i, mean, sum) * probs[row + experts[i]];
            }
        }
        @if(random) {
            if left_out != ABSENT {
                mean_grad -= mean / sum * probs[row + left_out];
            }
        }
    }

    for (var expert = 0u; expert < params.experts; expert++) {
        let probability = probs[row + expert];
        var grad = own_slope(probability) * (shared_grad(expert, balance, total) - mean_grad);
        @if(losses) {
            // A sigmoid gate's softmax is not stored; the z loss needs it.
            var softmax = probability;
            @if(sigmoid) {
                softmax = small_exp(logits[row + expert] - tokens[4u * token + TOKEN_LSE]);
            }
            grad += slopes[3u * params.experts + expert] * tokens[4u * token + TOKEN_LSE] * softmax;
        }
        logits_grad[row + expert] = grad;
    }
    for (var i = first; i < end; i++) {
        if experts[i] < params.experts {
            let at = row + experts[i];
            @if(chosen) {
                logits_grad[at] += weights[i] * (grad_of(i) - mean);
            }
            @if(!chosen) {
                logits_grad[at] += own_slope(probs[at]) * assigned_grad(i, mean, sum);
            }
        }
    }
    @if(random) {
        if left_out != ABSENT {
            let at = row + left_out;
            logits_grad[at] -= own_slope(probs[at]) * mean / sum;
        }
    }
}
