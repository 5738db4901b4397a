// Exclusive prefix sums of the assignment counts over chunks, and their total per expert. One workgroup per expert;
// an invocation sums a contiguous run of chunks.
import package::common::grid::workgroup_index;

struct Params {
    experts: u32,
    chunks: u32,
}

@group(0) @binding(2) var<storage, read_write> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> totals: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

const WIDTH = 64u;

var<workgroup> sums: array<u32, WIDTH>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let expert = workgroup_index(id, count);
    if expert >= params.experts {
        return;
    }
    let run = (params.chunks + WIDTH - 1u) / WIDTH;
    let begin = expert * params.chunks + min(local * run, params.chunks);
    let end = expert * params.chunks + min((local + 1u) * run, params.chunks);
    var sum = 0u;
    for (var at = begin; at < end; at++) {
        sum += table[at];
    }
    sums[local] = sum;
    workgroupBarrier();

    var before = 0u;
    for (var i = 0u; i < local; i++) {
        before += sums[i];
    }
    for (var at = begin; at < end; at++) {
        let here = table[at];
        table[at] = before;
        before += here;
    }
    if local == WIDTH - 1u {
        totals[expert] = before;
    }
}
