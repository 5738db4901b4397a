// Dense matmul, subgroups of eight without workgroup memory: a workgroup tile is 16 x 32, each lane computes 16 rows
// by 4 columns. All lanes need the same rows of `lhs`: each loads two and broadcasts them.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, segment_of, within_segment, rhs_piece, Tile, add_pieces};
import package::common::wave::lhs_octet;
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
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = (params.n + 4u * LANES - 1u) / (4u * LANES);
    let all = workgroup_index(id, count);
    let segment = segment_of(all);
    let index = within_segment(all);
    let i = index / across * 16u;
    let j = (index % across * LANES + lane) * 4u;
    if i >= params.m {
        return;
    }
    @if(split) {
        partial_row = segment.number * params.m;
    }

    // Rows 0..7 and 8..15.
    var tile: Tile;
    var more: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u; row++) {
            tile[row] = stored4(i + row, j);
            more[row] = stored4(i + 8u + row, j);
        }
    }
    for (var k = segment.begin; k < segment.end; k += 4u) {
        let columns = rhs_piece(k, j);
        let rows = lhs_octet(i, k, lane);
        let others = lhs_octet(i + 8u, k, lane);
        add_pieces(&tile, rows[0], rows[1], columns);
        add_pieces(&more, others[0], others[1], columns);
    }

    let shift = bias4(j);
    for (var row = 0u; row < 8u; row++) {
        store4(i + row, j, tile[row], shift);
        store4(i + 8u + row, j, more[row], shift);
    }
}
