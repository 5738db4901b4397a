// product[m, n] = op(lhs) * op(S), S block-sparse, without workgroup memory.
//
// A workgroup is 32 invocations of 4 rows each, by 8 columns. The columns lie in one column of blocks, so
// the walk over its blocks and every load of their values are the same for the whole workgroup, whatever
// the block size. (With the columns spread over the lanes instead, blocks of 16 leave half of an
// eight-wide processor idle: docs/rejected.md.)
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, Piece, Tile, add_pieces};
import package::common::topology::{line_slot, line_place};
import package::dds::blocks::{line_of, block_piece};
@if(window)
import package::dds::blocks::is_bound;
import package::common::epilogue::{store4, bias4};
@if(continued)
import package::common::epilogue::stored4;
import package::constants::BLOCK;

const LANES = 32u;

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = params.n / 8u;
    let index = workgroup_index(id, count);
    let i = (index / across * LANES + lane) * 4u;
    let j = index % across * 8u;
    if i >= params.m {
        return;
    }

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
    let line = line_of(j / BLOCK);
    let within = j % BLOCK;
    for (var entry = line.begin; entry < line.end; entry++) {
        let slot = line_slot(line, entry);
        @if(window) {
            if !is_bound(slot) {
                continue;
            }
        }
        let first = line_place(line, slot) * BLOCK;
        for (var k = 0u; k < BLOCK; k += 4u) {
            add_pieces(
                &tile,
                block_piece(slot, k, within), block_piece(slot, k, within + 4u),
                lhs_piece(i, first + k),
            );
        }
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
