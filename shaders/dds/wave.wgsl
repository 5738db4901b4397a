// product[m, n] = op(lhs) * op(S), S block-sparse, without workgroup memory.
//
// A workgroup is 32 invocations of 4 rows each, by 8 columns, as in the lane variant; every load of the sparse operand's
// values is the same for all of them. Here eight invocations run as one subgroup: each loads an eighth, and hands it round.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, rhs4, Piece, Tile, add_pieces};
import package::common::topology::{line_slot, line_place};
import package::common::wave::{Octet, octet_of_rows, octet_of_columns};
import package::dds::blocks::{line_of, first_row};
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
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = params.n / 8u;
    let index = workgroup_index(id, count);
    let top = index / across * LANES * 4u;
    let j = index % across * 8u;
    // All lanes go on or none, since they need each other; rows past the end are not stored.
    if top >= params.m {
        return;
    }
    let i = top + local * 4u;

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
            let columns = block_octet(slot, k, within, lane);
            add_pieces(&tile, columns[0], columns[1], lhs_piece(i, first + k));
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

// Contraction indices k..k + 3 and columns j..j + 7 within a block of op(S).
@if(!rhs_t)
fn block_octet(slot: u32, k: u32, j: u32, lane: u32) -> Octet {
    return octet_of_columns(rhs4((first_row(slot) + k + lane / 2u) * BLOCK + j + lane % 2u * 4u));
}
@if(rhs_t)
fn block_octet(slot: u32, k: u32, j: u32, lane: u32) -> Octet {
    return octet_of_rows(rhs4((first_row(slot) + j + lane) * BLOCK + k));
}
