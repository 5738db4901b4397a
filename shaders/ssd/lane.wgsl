// SSD: the blocks of S[k, m]^T * rhs[k, n] that a weight's topology stores, for a block-sparse S. Micro-tiles of 8 x
// 4; a workgroup tile is one block, several small blocks up to 8 invocations, or a quarter of a block of 128.
import package::common::grid::workgroup_index;
import package::common::matmul::{rhs_piece, Tile, add_pieces};
import package::common::topology::{line_slot, line_place};
import package::common::weight::{weight_nnz, weight_row, weight_col};
import package::dsd::blocks::{line_of, block_piece};
import package::common::pieces::{CUTS, QUADS, OCTETS, first_of};
import package::sdd::blocks::store_block4;
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
    if slot >= weight_nnz() {
        return;
    }
    let within = first_of(index) + vec2<u32>(8u * local.y, 4u * local.x);
    let j = weight_col(slot) * BLOCK + within.y;

    var tile: Tile;
    let line = line_of(weight_row(slot));
    for (var entry = line.begin; entry < line.end; entry++) {
        let block = line_slot(line, entry);
        let first = line_place(line, block) * BLOCK;
        for (var k = 0u; k < BLOCK; k += 4u) {
            add_pieces(
                &tile,
                block_piece(block, within.x, k), block_piece(block, within.x + 4u, k),
                rhs_piece(first + k, j),
            );
        }
    }

    for (var row = 0u; row < 8u; row++) {
        store_block4(slot, within.x + row, within.y, tile[row]);
    }
}
