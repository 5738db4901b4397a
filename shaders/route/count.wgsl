// Assignment count per expert and chunk. One invocation per chunk.
import package::common::grid::workgroup_index;
import package::common::topology::ABSENT;
import package::route::walk::{params, table, walk, next, number, counter};

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = workgroup_index(id, count) * 64u + local;
    if chunk >= params.chunks {
        return;
    }
    for (var expert = 0u; expert < params.experts; expert++) {
        table[expert * params.chunks + chunk] = 0u;
    }
    for (var at = walk(chunk); at.left > 0u; at = next(at)) {
        let counter = counter(at, chunk);
        if counter != ABSENT {
            table[counter]++;
        }
    }
}
