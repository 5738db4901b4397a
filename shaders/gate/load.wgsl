// Expected load: the probability that an expert is in a token's top k if only its own noise is redrawn. One
// invocation per token.
import package::common::gate::TOKEN_COUNTS;
import package::common::grid::workgroup_index;
import package::common::load::{distance_of, find_brink};
import package::common::normal::probability_below;

struct Params {
    tokens: u32,
    experts: u32,
    assignments: u32,
}

@group(0) @binding(4) var<storage, read> tokens: array<f32>;
@group(0) @binding(5) var<storage, read_write> load: array<f32>;
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
            load[row + expert] = 0.0;
        }
        return;
    }
    let brink = find_brink(token, params.experts, params.assignments);
    for (var expert = 0u; expert < params.experts; expert++) {
        load[row + expert] = probability_below(distance_of(row, expert, brink));
    }
}
