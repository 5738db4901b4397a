// Writes the slots of each row and column of the grid in ascending order. One invocation per row or column.
import package::common::grid::workgroup_index;
import package::pattern::lines::{pattern, map, line_of, is_active};

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let line = line_of(workgroup_index(id, count) * 64u + local);
    if line.length == 0u {
        return;
    }
    var at = line.slots + pattern[line.pointer];
    for (var i = 0u; i < line.length; i++) {
        let place = line.first + i * line.stride;
        if is_active(place) {
            pattern[at] = map[place];
            at++;
        }
    }
}
