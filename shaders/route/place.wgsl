// Row of each assignment, and assignment and token of each row. One invocation per chunk; the table holds the
// expert's assignments in earlier chunks and is counted up.
import package::common::grid::workgroup_index;
import package::common::topology::ABSENT;
import package::route::walk::{params, experts, table, walk, next, number, counter};

@group(0) @binding(3) var<storage, read> first_tile: array<u32>;
@group(0) @binding(4) var<storage, read> counts: array<u32>;
@group(0) @binding(5) var<storage, read_write> rows: array<u32>;
@group(0) @binding(6) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(8) var<storage, read_write> places: array<u32>;

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
    for (var at = walk(chunk); at.left > 0u; at = next(at)) {
        let assignment = number(at);
        let counter = counter(at, chunk);
        var place = ABSENT;
        if counter != ABSENT {
            let rank = table[counter];
            table[counter] = rank + 1u;
            let expert = experts[assignment];
            if rank < counts[expert] {
                place = first_tile[expert] * params.block + rank;
                rows[place] = assignment;
                tokens[place] = at.token;
            }
        }
        places[assignment] = place;
    }
}
