// Transfers birth steps from one pattern to another: blocks only in the new pattern are born at `now`. Slots in the
// map that the old pattern does not have, such as ABSENT, count as missing.
import package::common::grid::workgroup_index;
import package::common::topology::slot_place;

struct Params {
    n: u32,
    now: u32,
    // Number of slots of the old pattern.
    slots: u32,
}

@group(0) @binding(0) var<storage, read> before: array<u32>;
@group(0) @binding(1) var<storage, read> map: array<u32>;
@group(0) @binding(2) var<storage, read_write> born: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;


@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = workgroup_index(id, count) * 64u + local;
    if slot >= params.n {
        return;
    }
    let old = map[slot_place(slot)];
    born[slot] = params.now;
    if old < params.slots {
        born[slot] = before[old];
    }
}
