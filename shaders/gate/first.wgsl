// The first rows of each column of n scores that take part, as many as the column's quota, as a set of bits. A workgroup to a
// column; an invocation has 32 rows at a time, which are a word.
//
// A row has its bit by the rows before it alone: no later row can take its place.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read> scores: array<u32>;
@group(0) @binding(1) var<storage, read> quota: array<u32>;
@group(0) @binding(2) var<storage, read_write> first: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

const WIDTH = 32u;

// A score with its sign bit set takes no part.
const NO_PART = 0x80000000u;

var<workgroup> counts: array<u32, WIDTH>;

// The lowest bits of a word that are set, so many of them.
fn lowest(word: u32, most: u32) -> u32 {
    var rest = word;
    for (var i = 0u; i < most && rest != 0u; i++) {
        rest &= rest - 1u;
    }
    return word ^ rest;
}

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let column = workgroup_index(id, count);
    if column >= params.columns {
        return;
    }
    let words = (params.n + 31u) / 32u;
    var left = quota[column];
    for (var base = 0u; base < words; base += WIDTH) {
        let word = base + local;
        var bits = 0u;
        for (var row = 32u * word; row < min(32u * word + 32u, params.n); row++) {
            let part = scores[row * params.columns + column] < NO_PART;
            bits |= select(0u, 1u, part) << (row % 32u);
        }
        // The counts of the words before these are still read by others.
        workgroupBarrier();
        counts[local] = countOneBits(bits);
        workgroupBarrier();
        var before = 0u;
        var all = 0u;
        for (var i = 0u; i < WIDTH; i++) {
            before += select(0u, counts[i], i < local);
            all += counts[i];
        }
        if word < words {
            first[column * words + word] = lowest(bits, left - min(left, before));
        }
        left -= min(left, all);
    }
}
