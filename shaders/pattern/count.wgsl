// Block counts per row and column of the grid, written where the next pointer will stand. One invocation per row or
// column.
import package::common::grid::workgroup_index;
import package::pattern::lines::{pattern, line_of, is_active};

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
    var blocks = 0u;
    for (var i = 0u; i < line.length; i++) {
        blocks += select(0u, 1u, is_active(line.first + i * line.stride));
    }
    pattern[line.pointer + 1u] = blocks;
}
