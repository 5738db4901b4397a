// Grids are one-dimensional to the kernels. The host folds one that is longer than a dimension may be.
fn workgroup_index(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.y * count.x + id.x;
}

// Workgroups dealt out to so many threads in turns. Drivers that run on the CPU give each of their threads a run of
// neighbours, and where a grid has room to spare, its end is idle: in turns each thread has as much of it as the others.
fn dealt(index: u32, all: u32, threads: u32) -> u32 {
    let turns = all / threads;
    let left = all % threads;
    // The first threads have a turn more.
    let longer = left * (turns + 1u);
    if index < longer {
        return index % (turns + 1u) * threads + index / (turns + 1u);
    }
    return (index - longer) % turns * threads + left + (index - longer) / turns;
}
