// SDS: the blocks of lhs[m, k] * W[n, k]^T that the topology stores, for a block-sparse W. Micro-tiles of 8 x 4; a
// workgroup tile is one block, several small blocks up to 8 invocations, or a quarter of a block of 128.
import package::common::grid::workgroup_index;
import package::common::matmul::{lhs_rows, lhs_piece_of, Tile, add_pieces};
import package::common::topology::{slot_row, slot_col};
import package::common::weight::{weight_row_line, weight_slot, weight_place};
import package::dds::blocks::block_piece;
import package::common::pieces::{CUTS, QUADS, OCTETS, first_of};
import package::sdd::blocks::{slots, store_block4};
import package::constants::BLOCK;

const SLOTS = max(1u, 8u / (QUADS * OCTETS));

@compute @workgroup_size(QUADS, OCTETS, SLOTS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let index = workgroup_index(id, count);
    let slot = index / (CUTS * CUTS) * SLOTS + local.z;
    if slot >= slots() {
        return;
    }
    let within = first_of(index) + vec2<u32>(8u * local.y, 4u * local.x);
    let i = slot_row(slot) * BLOCK + within.x;
    let upper = lhs_rows(i);
    let lower = lhs_rows(i + 4u);

    var tile: Tile;
    let line = weight_row_line(slot_col(slot));
    for (var entry = line.begin; entry < line.end; entry++) {
        let block = weight_slot(line, entry);
        let first = weight_place(line, block) * BLOCK;
        for (var k = 0u; k < BLOCK; k += 4u) {
            add_pieces(
                &tile,
                lhs_piece_of(upper, first + k), lhs_piece_of(lower, first + k),
                block_piece(block, k, within.y),
            );
        }
    }

    for (var row = 0u; row < 8u; row++) {
        store_block4(slot, within.x + row, within.y, tile[row]);
    }
}
