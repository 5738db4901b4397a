// Number of assignments per expert, rounded to the nearest multiple of `tile`. One workgroup per expert.
import package::common::grid::workgroup_index;
import package::common::rank::{rank, rank_total, WIDTH};

struct Params {
    n: u32,
    experts: u32,
    tile: u32,
}

@group(0) @binding(0) var<storage, read> assignments: array<u32>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let expert = workgroup_index(id, count);
    if expert >= params.experts {
        return;
    }
    var found = 0u;
    for (var i = local; i < params.n; i += WIDTH) {
        found += select(0u, 1u, assignments[i] == expert);
    }
    _ = rank(local, found);
    if local == 0u {
        counts[expert] = (rank_total() + params.tile / 2u) / params.tile * params.tile;
    }
}
