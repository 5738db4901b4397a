// Excludes stored blocks from selection, except those in a set: their scores become negative.
import package::common::grid::workgroup_index;
import package::common::topology::{nnz, slot_place};

@if(except) @group(0) @binding(0) var<storage, read> members: array<u32>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = workgroup_index(id, count) * 64u + local;
    if slot >= nnz() {
        return;
    }
    let place = slot_place(slot);
    @if(except) {
        if ((members[place / 32u] >> (place % 32u)) & 1u) == 1u {
            return;
        }
    }
    scores[place] = -1.0;
}
