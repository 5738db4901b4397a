// Weights of a token's assignments: the expert's probability, that probability over the sum of the assigned ones, or
// a softmax over the assigned logits. One invocation per token.
import package::common::gate::small_exp;
import package::common::grid::workgroup_index;
import package::common::topology::ABSENT;
import package::common::random::{threefry, unit};
import package::common::step::now;

struct Params {
    tokens: u32,
    experts: u32,
    assignments: u32,
    @if(random)
    key_0: u32,
    @if(random)
    key_1: u32,
}

// Probabilities, or logits for a softmax over the assigned experts.
@group(0) @binding(0) var<storage, read> values: array<f32>;
@if(!random) @group(0) @binding(1) var<storage, read> experts: array<u32>;
@if(random) @group(0) @binding(1) var<storage, read_write> experts: array<u32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
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
    let first = token * params.assignments;
    let end = first + params.assignments;

    var largest = 0.0;
    @if(chosen) {
        var any = false;
        for (var i = first; i < end; i++) {
            if experts[i] < params.experts {
                let x = values[row + experts[i]];
                largest = select(x, max(largest, x), any);
                any = true;
            }
        }
    }
    // GShard's guard against division by zero; a softmax needs none.
    var sum = 1e-9;
    @if(chosen) {
        sum = 0.0;
    }
    @if(renormalised || chosen) {
        for (var i = first; i < end; i++) {
            if experts[i] < params.experts {
                sum += value(row + experts[i], largest);
            }
        }
    }
    for (var i = first; i < end; i++) {
        var weight = 0.0;
        if experts[i] < params.experts {
            weight = value(row + experts[i], largest);
            @if(renormalised || chosen) {
                weight /= sum;
            }
        }
        weights[i] = weight;
    }
    // GShard's random second expert: kept with probability weight / 0.2. The first weight stays as normalised by
    // both.
    @if(random) {
        let chance = unit(threefry(vec2<u32>(params.key_0, params.key_1), vec2<u32>(token, now.index)).x);
        if chance >= weights[first + 1u] / 0.2 {
            experts[first + 1u] = ABSENT;
            weights[first + 1u] = 0.0;
        }
    }
}

fn value(i: u32, largest: f32) -> f32 {
    @if(chosen) {
        return small_exp(values[i] - largest);
    }
    @if(!chosen) {
        return values[i];
    }
}
