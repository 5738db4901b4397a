// Exclusive prefix sums over a workgroup of 256 invocations: deterministic compaction without atomic counters.

const WIDTH = 256u;

var<workgroup> sums: array<u32, WIDTH + 1>;

// Exclusive prefix sum of `count` over the invocations. Contains barriers: all invocations must call it. `rank_total`
// returns the sum over all until the next call.
fn rank(local: u32, count: u32) -> u32 {
    // Orders the reads of the previous call before the writes of this one.
    workgroupBarrier();
    sums[local] = count;
    workgroupBarrier();
    if local == 0u {
        var sum = 0u;
        for (var i = 0u; i < WIDTH; i++) {
            let next = sums[i];
            sums[i] = sum;
            sum += next;
        }
        sums[WIDTH] = sum;
    }
    workgroupBarrier();
    return sums[local];
}

fn rank_total() -> u32 {
    return sums[WIDTH];
}
