// Scores of stored blocks, written to each block's grid position: sum of |w| or w * w, largest |w|, sum of |w * g| or
// w * g with a second matrix of the same pattern, or the sum of w where it has the wanted sign (excluded otherwise).
// One invocation per block; the summation order is fixed.
import package::common::grid::workgroup_index;
import package::common::topology::{nnz, slot_place};
import package::constants::BLOCK;

// Bound window of the slots.
@if(window)
struct Params {
    first: u32,
    slots: u32,
}

@if(window) @group(0) @binding(7) var<uniform> params: Params;

@group(0) @binding(0) var<storage, read> values: array<vec4<f32>>;
@if(times) @group(0) @binding(1) var<storage, read> other: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

const QUADS = BLOCK * BLOCK / 4u;

fn term(i: u32) -> vec4<f32> {
    var x = values[i];
    @if(times) {
        x *= other[i];
    }
    @if(square) {
        x *= x;
    }
    @if(!signed && !square) {
        x = abs(x);
    }
    return x;
}

fn slots() -> u32 {
    @if(window) {
        return params.slots;
    }
    @if(!window) {
        return nnz();
    }
}

fn place_of(slot: u32) -> u32 {
    @if(window) {
        return slot_place(params.first + slot);
    }
    @if(!window) {
        return slot_place(slot);
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = workgroup_index(id, count) * 64u + local;
    if slot >= slots() {
        return;
    }
    var sum = vec4<f32>();
    for (var i = slot * QUADS; i < (slot + 1u) * QUADS; i++) {
        @if(!largest) {
            sum += term(i);
        }
        @if(largest) {
            sum = max(sum, term(i));
        }
    }
    var total = (sum.x + sum.y) + (sum.z + sum.w);
    @if(largest) {
        total = max(max(sum.x, sum.y), max(sum.z, sum.w));
    }
    @if(positive) {
        scores[place_of(slot)] = select(-1.0, total, total > 0.0);
    }
    @if(negative) {
        scores[place_of(slot)] = select(-1.0, -total, total < 0.0);
    }
    @if(!positive && !negative) {
        scores[place_of(slot)] = total;
    }
}
