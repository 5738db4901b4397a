// product[m, n] = op(lhs) * op(S), S block-sparse, without workgroup memory.
//
// A workgroup is eight invocations of eight rows each, by 16 columns, or by 8 in blocks of 8. As in the lane variant, every load
// of the sparse operand's values is the same for all of them; here they run as one subgroup, and each loads an eighth of the
// values and hands it round. Four times the sums of the lane variant are more than there are registers, and worth the loads.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, rhs4, Tile, add_pieces};
import package::common::topology::{line_slot, line_place};
import package::common::wave::{Octet, octet_of_rows, octet_of_columns};
import package::dds::blocks::{line_of, first_row};
@if(window)
import package::dds::blocks::is_bound;
import package::common::sideways::store_sideways;
@if(continued)
import package::common::sideways::stored_sideways;
import package::constants::BLOCK;

const LANES = 8u;
const WIDE = min(BLOCK, 16u);
// From a lane's first four rows to its others: lanes that are neighbours have neighbouring rows.
const ON = LANES * 4u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = params.n / WIDE;
    let index = workgroup_index(id, count);
    let top = index / across * ON * 2u;
    let j = index % across * WIDE;
    // All lanes go on or none, since they need each other; rows past the end are not stored.
    if top >= params.m {
        return;
    }
    let i = top + lane * 4u;

    // Eight columns of a lane's rows, and eight more.
    var tile: Tile;
    var more: Tile;
    var lower: Tile;
    var lower_more: Tile;
    @if(continued) {
        tile = stored_sideways(i, j);
        lower = stored_sideways(i + ON, j);
        if WIDE > 8u {
            more = stored_sideways(i, j + 8u);
            lower_more = stored_sideways(i + ON, j + 8u);
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
            let rows = lhs_piece(i, first + k);
            let lower_rows = lhs_piece(i + ON, first + k);
            let columns = block_octet(slot, k, within, lane);
            add_pieces(&tile, columns[0], columns[1], rows);
            add_pieces(&lower, columns[0], columns[1], lower_rows);
            if WIDE > 8u {
                let others = block_octet(slot, k, within + 8u, lane);
                add_pieces(&more, others[0], others[1], rows);
                add_pieces(&lower_more, others[0], others[1], lower_rows);
            }
        }
    }

    store_sideways(i, j, tile);
    store_sideways(i + ON, j, lower);
    if WIDE > 8u {
        store_sideways(i, j + 8u, more);
        store_sideways(i + ON, j + 8u, lower_more);
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
