// Top-k selection per column of `scores[n, columns]`: the k largest (or smallest) as a bit set, ties in index order.
// Radix select, one workgroup per column, eight bits of the score per pass. Integer counts and ranked ties make the
// result independent of scheduling; no floats are compared.
//
// Scores with the sign bit set are excluded. The bits of the others ascend with their values.
import package::common::grid::workgroup_index;
import package::common::rank::{rank, rank_total, WIDTH};

struct Params {
    n: u32,
    columns: u32,
    @if(fraction)
    fraction: f32,
}

@group(0) @binding(0) var<storage, read> scores: array<u32>;
@if(!fraction) @group(0) @binding(1) var<storage, read> k: array<u32>;
@group(0) @binding(2) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

var<workgroup> histogram: array<atomic<u32>, 256>;
// Leading bits of the k-th largest key, and how many scores equal to it are selected.
var<workgroup> threshold: u32;
var<workgroup> remaining: u32;

const NO_PART = 0x80000000u;

// Sort key: larger keys are selected first.
fn order(score: u32) -> u32 {
    @if(!smallest) {
        return score;
    }
    @if(smallest) {
        return 0x7FFFFFFFu - score;
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let column = workgroup_index(id, count);
    if column >= params.columns {
        return;
    }
    var candidates = 0u;
    for (var i = local; i < params.n; i += WIDTH) {
        candidates += select(0u, 1u, scores[i * params.columns + column] < NO_PART);
    }
    _ = rank(local, candidates);
    if local == 0u {
        @if(!fraction) {
            remaining = min(k[column], rank_total());
        }
        @if(fraction) {
            remaining = u32(params.fraction * f32(rank_total()));
        }
        threshold = 0u;
    }

    for (var turn = 0u; turn < 4u; turn++) {
        let shift = 24u - 8u * turn;
        atomicStore(&histogram[local], 0u);
        workgroupBarrier();
        for (var i = local; i < params.n; i += WIDTH) {
            let score = scores[i * params.columns + column];
            // Two shifts, because a shift by 32 is undefined.
            if score < NO_PART && ((order(score) >> shift) >> 8u) == threshold {
                atomicAdd(&histogram[(order(score) >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        if local == 0u {
            var digit = 255u;
            var left = remaining;
            loop {
                let here = atomicLoad(&histogram[digit]);
                if here >= left || digit == 0u {
                    break;
                }
                left -= here;
                digit -= 1u;
            }
            remaining = left;
            threshold = (threshold << 8u) | digit;
        }
        workgroupBarrier();
    }

    let words = (params.n + 31u) / 32u;
    var before = 0u;
    for (var base = 0u; base < words; base += WIDTH) {
        let word = base + local;
        var above = 0u;
        var equal = 0u;
        for (var bit = 0u; bit < 32u; bit++) {
            let i = word * 32u + bit;
            if i >= params.n {
                break;
            }
            let score = scores[i * params.columns + column];
            if score < NO_PART {
                above |= select(0u, 1u << bit, order(score) > threshold);
                equal |= select(0u, 1u << bit, order(score) == threshold);
            }
        }
        let first = before + rank(local, countOneBits(equal));
        before += rank_total();
        for (var taken = first; taken < remaining && equal != 0u; taken++) {
            let lowest = equal & (~equal + 1u);
            above |= lowest;
            equal ^= lowest;
        }
        if word < words {
            chosen[column * words + word] = above;
        }
    }
}
