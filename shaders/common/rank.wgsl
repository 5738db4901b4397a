// Ranks within a workgroup of 256 invocations: what makes a compaction deterministic where an atomic counter would not.

const WIDTH = 256u;

var<workgroup> sums: array<u32, WIDTH + 1>;

// The sum of `count` over the invocations before this one. All of them call it together; until they do so again,
// `rank_total` is the sum over all.
fn rank(local: u32, count: u32) -> u32 {
    // Whoever still reads the last call's sums comes first.
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
