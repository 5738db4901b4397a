// Dense matmul for products of few columns, subgroups of eight: a workgroup tile is 32 x 16, each lane computes 4
// rows by 16 columns. All lanes need the same columns of `rhs`: each loads two and broadcasts them.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, segment_of, within_segment, lhs_piece, Tile, add_pieces};
import package::common::wave::rhs_octet;
import package::common::column_major::store_column_major;
@if(split)
import package::common::epilogue::partial_row;
@if(continued)
import package::common::column_major::load_column_major;

const LANES = 8u;

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = (params.n + 15u) / 16u;
    let all = workgroup_index(id, count);
    let segment = segment_of(all);
    let index = within_segment(all);
    let top = index / across * LANES * 4u;
    let j = index % across * 16u;
    // Lanes past the last row continue, because the subgroup broadcasts need all eight; their rows are not stored.
    if top >= params.m {
        return;
    }
    @if(split) {
        partial_row = segment.number * params.m;
    }
    let i = top + lane * 4u;

    // Columns 0..7 and 8..15.
    var tile: Tile;
    var more: Tile;
    @if(continued) {
        tile = load_column_major(i, j);
        more = load_column_major(i, j + 8u);
    }
    for (var k = segment.begin; k < segment.end; k += 4u) {
        let rows = lhs_piece(i, k);
        let columns = rhs_octet(k, j, lane);
        let others = rhs_octet(k, j + 8u, lane);
        add_pieces(&tile, columns[0], columns[1], rows);
        add_pieces(&more, others[0], others[1], rows);
    }

    store_column_major(i, j, tile);
    store_column_major(i, j + 8u, more);
}
