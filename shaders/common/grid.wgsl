// Grids are one-dimensional to the kernels. The host folds one that is longer than a dimension may be.
fn workgroup_index(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.y * count.x + id.x;
}
