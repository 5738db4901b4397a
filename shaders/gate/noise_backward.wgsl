// Gradient of the noise logits, from the gradient of the noisy logits, which is also that of the clean logits. One
// invocation per token. The load loss adds terms through each expert's logit and standard deviation, and through its
// threshold, which is a noisy logit.
import package::common::activation::sigmoid;
import package::common::gate::TOKEN_COUNTS;
import package::common::grid::workgroup_index;
import package::common::load::{distance_of, find_brink, in_top_k, noise};
import package::common::noise::{draw, spread};
import package::common::normal::density;

struct Params {
    tokens: u32,
    experts: u32,
    @if(load)
    assignments: u32,
    key_0: u32,
    key_1: u32,
}

@group(0) @binding(4) var<storage, read> tokens: array<f32>;
@if(load) @group(0) @binding(5) var<storage, read> slopes: array<f32>;
@group(0) @binding(6) var<storage, read_write> logits_grad: array<f32>;
@group(0) @binding(9) var<storage, read_write> noise_grad: array<f32>;
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
    let row = token * params.experts;
    if tokens[4u * token + TOKEN_COUNTS] <= 0.0 {
        for (var expert = 0u; expert < params.experts; expert++) {
            noise_grad[row + expert] = 0.0;
        }
        return;
    }
    @if(load) let brink = find_brink(token, params.experts, params.assignments);
    @if(load) {
        // Accumulated gradient of the two thresholds.
        var last = 0.0;
        var next = 0.0;
        for (var expert = 0u; expert < params.experts; expert++) {
            let grad = load_grad(row, expert, distance_of(row, expert, brink));
            if in_top_k(row, expert, brink.last) {
                next -= grad;
            } else {
                last -= grad;
            }
        }
        logits_grad[row + brink.last] += last;
        logits_grad[row + brink.next] += next;
    }
    for (var expert = 0u; expert < params.experts; expert++) {
        let i = row + expert;
        var grad = logits_grad[i] * draw(vec2<u32>(params.key_0, params.key_1), i);
        @if(load) {
            let distance = distance_of(row, expert, brink);
            let own = load_grad(row, expert, distance);
            grad -= own * distance;
            logits_grad[i] += own;
        }
        // The derivative of softplus is the sigmoid.
        noise_grad[i] = grad * sigmoid(noise[i]);
    }
}

// Gradient of an expert's logit through its load.
@if(load)
fn load_grad(row: u32, expert: u32, distance: f32) -> f32 {
    return slopes[2u * params.experts + expert] * density(distance) / spread(noise[row + expert]);
}
