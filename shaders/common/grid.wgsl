// Linear index of a workgroup. The host folds grids longer than one dimension allows into two.
fn workgroup_index(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.y * count.x + id.x;
}

// Round-robin workgroup order: maps workgroup `index` of `all` so that consecutive ones go to different driver
// threads. CPU drivers hand each thread a contiguous range of workgroups; with a grid dispatched for its upper bound,
// the idle workgroups at the end would all fall to the last threads.
fn round_robin(index: u32, all: u32, threads: u32) -> u32 {
    let per_thread = all / threads;
    let remainder = all % threads;
    // The first `all % threads` threads get one workgroup more.
    let longer = remainder * (per_thread + 1u);
    if index < longer {
        return index % (per_thread + 1u) * threads + index / (per_thread + 1u);
    }
    return (index - longer) % per_thread * threads + remainder + (index - longer) / per_thread;
}
