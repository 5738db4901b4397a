// Slot map of a pattern: map[grid position] = slot of each stored block. Other positions keep their value.
import package::common::grid::workgroup_index;
import package::common::topology::{nnz, slot_place};

@group(0) @binding(2) var<storage, read_write> map: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = workgroup_index(id, count) * 64u + local;
    if slot < nnz() {
        map[slot_place(slot)] = slot;
    }
}
