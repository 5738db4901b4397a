// First rows of each column of n scores that are not excluded, up to the column's capacity, as a bit set. One
// workgroup per column; an invocation handles 32 rows, one word, at a time.
//
// A row's bit depends only on the rows before it.
import package::common::grid::workgroup_index;

struct Params {
    n: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read> scores: array<u32>;
@group(0) @binding(1) var<storage, read> capacity: array<u32>;
@group(0) @binding(2) var<storage, read_write> first: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

const WIDTH = 32u;

// Scores with the sign bit set are excluded.
const NO_PART = 0x80000000u;

var<workgroup> counts: array<u32, WIDTH>;

// The `most` lowest set bits of a word.
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
    var left = capacity[column];
    for (var base = 0u; base < words; base += WIDTH) {
        let word = base + local;
        var bits = 0u;
        for (var row = 32u * word; row < min(32u * word + 32u, params.n); row++) {
            let part = scores[row * params.columns + column] < NO_PART;
            bits |= select(0u, 1u, part) << (row % 32u);
        }
        // Orders the reads of the previous counts before the writes of these.
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
