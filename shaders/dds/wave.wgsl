// product[m, n] = op(lhs) * op(S), S block-sparse, without workgroup memory.
//
// A workgroup is 32 invocations of 4 rows each, by 16 columns, or by 8 in blocks of 8. As in the lane variant, every load of
// the sparse operand's values is the same for all of them; here eight run as one subgroup, and each loads an eighth of the
// values and hands it round. Twice the columns of the lane variant make up for more sums than there are registers.
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

const LANES = 32u;
const WIDE = min(BLOCK, 16u);

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = params.n / WIDE;
    let index = workgroup_index(id, count);
    let top = index / across * LANES * 4u;
    let j = index % across * WIDE;
    // All lanes go on or none, since they need each other; rows past the end are not stored.
    if top >= params.m {
        return;
    }
    let i = top + local * 4u;

    // Eight columns, and eight more.
    var tile: Tile;
    var more: Tile;
    @if(continued) {
        tile = stored_sideways(i, j);
        if WIDE > 8u {
            more = stored_sideways(i, j + 8u);
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
            let columns = block_octet(slot, k, within, lane);
            add_pieces(&tile, columns[0], columns[1], rows);
            if WIDE > 8u {
                let others = block_octet(slot, k, within + 8u, lane);
                add_pieces(&more, others[0], others[1], rows);
            }
        }
    }

    store_sideways(i, j, tile);
    if WIDE > 8u {
        store_sideways(i, j + 8u, more);
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
