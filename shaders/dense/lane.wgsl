// Dense matmul, lane variant: no workgroup memory. A workgroup tile is 8 x 32: eight invocations side by side with
// micro-tiles of 8 x 4. All of them need the same rows of `lhs`, which are loaded uniformly.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, segment_of, within_segment, lhs_piece, rhs_piece, Tile, add_pieces};
import package::common::epilogue::{store4, bias4};
@if(split)
import package::common::epilogue::partial_row;
@if(continued)
import package::common::epilogue::stored4;

const LANES = 8u;

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = (params.n + 4u * LANES - 1u) / (4u * LANES);
    let all = workgroup_index(id, count);
    let segment = segment_of(all);
    let index = within_segment(all);
    let i = index / across * 8u;
    let j = (index % across * LANES + lane) * 4u;
    if i >= params.m || j >= params.n {
        return;
    }
    @if(split) {
        partial_row = segment.number * params.m;
    }

    var tile: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u; row++) {
            tile[row] = stored4(i + row, j);
        }
    }
    for (var k = segment.begin; k < segment.end; k += 4u) {
        add_pieces(&tile, lhs_piece(i, k), lhs_piece(i + 4u, k), rhs_piece(k, j));
    }

    let shift = bias4(j);
    for (var row = 0u; row < 8u; row++) {
        store4(i + row, j, tile[row], shift);
    }
}
