// Adds the stored blocks of a pattern to a bit set.
import package::common::grid::workgroup_index;
import package::common::topology::{nnz, slot_place};

@group(0) @binding(2) var<storage, read_write> members: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = workgroup_index(id, count) * 64u + local;
    if slot < nnz() {
        let place = slot_place(slot);
        atomicOr(&members[place / 32u], 1u << (place % 32u));
    }
}
