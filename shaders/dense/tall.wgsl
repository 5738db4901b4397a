// Dense matmul for products of few columns, where eight invocations run as one subgroup: one above the other, each with
// 4 rows by 8 columns. The columns are the same for all of them, so each loads one, and hands it round.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, Piece, Tile, add_pieces};
import package::common::wave::rhs_octet;
import package::common::epilogue::{store4, bias4};
@if(continued)
import package::common::epilogue::stored4;

const LANES = 8u;

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = (params.n + 7u) / 8u;
    let index = workgroup_index(id, count);
    let top = index / across * LANES * 4u;
    let j = index % across * 8u;
    // All lanes go on or none, since they need each other; rows past the end are not stored.
    if top >= params.m {
        return;
    }
    let i = top + lane * 4u;

    // The tile is held sideways: 8 columns by a vector of four rows.
    var tile: Tile;
    @if(continued) {
        let before = transpose(Piece(stored4(i, j), stored4(i + 1u, j), stored4(i + 2u, j), stored4(i + 3u, j)));
        let after = transpose(Piece(
            stored4(i, j + 4u), stored4(i + 1u, j + 4u), stored4(i + 2u, j + 4u), stored4(i + 3u, j + 4u),
        ));
        for (var column = 0u; column < 4u; column++) {
            tile[column] = before[column];
            tile[column + 4u] = after[column];
        }
    }
    for (var k = 0u; k < params.k; k += 4u) {
        let columns = rhs_octet(k, j, lane);
        add_pieces(&tile, columns[0], columns[1], lhs_piece(i, k));
    }

    let near = transpose(Piece(tile[0], tile[1], tile[2], tile[3]));
    let far = transpose(Piece(tile[4], tile[5], tile[6], tile[7]));
    let near_bias = bias4(j);
    let far_bias = bias4(j + 4u);
    for (var row = 0u; row < 4u; row++) {
        store4(i + row, j, near[row], near_bias);
        store4(i + row, j + 4u, far[row], far_bias);
    }
}
