// Partial expert statistics over a chunk of tokens: sum of probability shares, count of first assignments, sum of
// weights, load, and count of all assignments. One invocation per chunk and expert.
//
// Sums run in groups of eight first, because rounding errors of a long sum of equal terms accumulate in one
// direction.
import package::common::gate::{TOKEN_COUNTS, TOKEN_TOTAL};
import package::common::grid::workgroup_index;

struct Params {
    tokens: u32,
    experts: u32,
    assignments: u32,
}

@group(0) @binding(0) var<storage, read> probs: array<f32>;
@group(0) @binding(1) var<storage, read> tokens: array<f32>;
@group(0) @binding(2) var<storage, read> experts: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@if(load) @group(0) @binding(4) var<storage, read> load: array<f32>;
// Five rows of experts per chunk.
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

const SHORT = 8u;
const CHUNK = 64u;

struct Statistics {
    prob: f32,
    first: f32,
    weight: f32,
    load: f32,
    assigned: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    let expert = i % params.experts;
    let chunk = i / params.experts;
    if chunk * CHUNK >= params.tokens {
        return;
    }
    let end = min((chunk + 1u) * CHUNK, params.tokens);
    var sum = Statistics();
    for (var begin = chunk * CHUNK; begin < end; begin += SHORT) {
        var part = Statistics();
        for (var token = begin; token < min(begin + SHORT, end); token++) {
            part = plus(part, statistics(token, expert));
        }
        sum = plus(sum, part);
    }
    let at = 5u * chunk * params.experts + expert;
    partial[at] = sum.prob;
    partial[at + params.experts] = sum.first;
    partial[at + 2u * params.experts] = sum.weight;
    partial[at + 3u * params.experts] = sum.load;
    partial[at + 4u * params.experts] = sum.assigned;
}

fn plus(a: Statistics, b: Statistics) -> Statistics {
    return Statistics(a.prob + b.prob, a.first + b.first, a.weight + b.weight, a.load + b.load, a.assigned + b.assigned);
}

fn statistics(token: u32, expert: u32) -> Statistics {
    var found = Statistics();
    let i = token * params.experts + expert;
    found.prob = probs[i] / tokens[4u * token + TOKEN_TOTAL];
    // One assignment slot per expert: there is no first assignment, so every assignment counts as one.
    @if(columns) {
        if experts[i] == expert {
            found.weight = weights[i];
            found.assigned = 1.0;
        }
        found.first = found.assigned;
    }
    @if(!columns) {
        let row = token * params.assignments;
        for (var j = 0u; j < params.assignments; j++) {
            if experts[row + j] == expert {
                found.weight = weights[row + j];
                found.assigned = 1.0;
                found.first = select(0.0, 1.0, j == 0u);
            }
        }
    }
    found.load = found.assigned;
    @if(load) {
        found.load = load[i];
    }
    return found;
}
