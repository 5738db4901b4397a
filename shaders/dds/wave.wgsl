// DDS, subgroups of eight: product[m, n] = op(lhs) * op(S) for block-sparse S, without workgroup memory.
//
// A workgroup tile is 64 x 16 (64 x 8 for blocks of 8); each lane computes eight rows. Loads of S are uniform: each
// lane loads an eighth and broadcasts it. A lane has four micro-tiles, more accumulators than a CPU has registers;
// the saved loads outweigh the spills.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, rhs4, Tile, add_pieces};
import package::common::topology::{line_slot, line_place};
import package::common::wave::{Octet, octet_of_rows, octet_of_columns};
import package::dds::blocks::{line_of, first_row};
@if(window)
import package::dds::blocks::is_bound;
import package::common::column_major::store_column_major;
@if(continued)
import package::common::column_major::load_column_major;
import package::constants::BLOCK;

const LANES = 8u;
const BN = min(BLOCK, 16u);
// Distance between a lane's two groups of four rows: neighbouring lanes own neighbouring rows.
const LOWER = LANES * 4u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = params.n / BN;
    let index = workgroup_index(id, count);
    let top = index / across * LOWER * 2u;
    let j = index % across * BN;
    // Lanes past the last row continue, because the subgroup broadcasts need all eight; their rows are not stored.
    if top >= params.m {
        return;
    }
    let i = top + lane * 4u;

    // Micro-tiles: upper rows at columns 0..7 and 8..15, lower rows likewise.
    var tile: Tile;
    var more: Tile;
    var lower: Tile;
    var lower_more: Tile;
    @if(continued) {
        tile = load_column_major(i, j);
        lower = load_column_major(i + LOWER, j);
        if BN > 8u {
            more = load_column_major(i, j + 8u);
            lower_more = load_column_major(i + LOWER, j + 8u);
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
            let lower_rows = lhs_piece(i + LOWER, first + k);
            let columns = block_octet(slot, k, within, lane);
            add_pieces(&tile, columns[0], columns[1], rows);
            add_pieces(&lower, columns[0], columns[1], lower_rows);
            if BN > 8u {
                let others = block_octet(slot, k, within + 8u, lane);
                add_pieces(&more, others[0], others[1], rows);
                add_pieces(&lower_more, others[0], others[1], lower_rows);
            }
        }
    }

    store_column_major(i, j, tile);
    store_column_major(i + LOWER, j, lower);
    if BN > 8u {
        store_column_major(i, j + 8u, more);
        store_column_major(i + LOWER, j + 8u, lower_more);
    }
}

// Columns j..j + 7 of a block of op(S) at contraction indices k..k + 3.
@if(!rhs_t)
fn block_octet(slot: u32, k: u32, j: u32, lane: u32) -> Octet {
    return octet_of_columns(rhs4((first_row(slot) + k + lane / 2u) * BLOCK + j + lane % 2u * 4u));
}
@if(rhs_t)
fn block_octet(slot: u32, k: u32, j: u32, lane: u32) -> Octet {
    return octet_of_rows(rhs4((first_row(slot) + j + lane) * BLOCK + k));
}
