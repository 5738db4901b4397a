// The blocks of op(lhs)[m, k] * op(rhs)[k, n] that a topology names, without workgroup memory. An invocation owns
// 8 x 4 elements of a block, and eight run as one subgroup: invocations with the same rows share the loads of `lhs`.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, rhs_piece, Tile, add_pieces};
import package::common::topology::{slot_row, slot_col};
import package::sdd::blocks::{QUADS, OCTETS, slots, in_topology, store_block4};
import package::sdd::octets::{block_lane, block_octet};
@if(continued)
import package::sdd::blocks::stored_block4;
import package::constants::BLOCK;

const EACH = QUADS * OCTETS;
const SLOTS = max(1u, 8u / EACH);

@compute @workgroup_size(EACH * SLOTS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // Invocations past the last block repeat it, since their subgroup needs them, and store nothing.
    let first = workgroup_index(id, count) * SLOTS;
    if first >= slots() {
        return;
    }
    let place = first + local / EACH;
    let slot = min(place, slots() - 1u);
    let quad = local % QUADS;
    let octet = local % EACH / QUADS;
    let i = slot_row(in_topology(slot)) * BLOCK;
    let j = slot_col(in_topology(slot)) * BLOCK + 4u * quad;

    var tile: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u; row++) {
            tile[row] = stored_block4(slot, 8u * octet + row, 4u * quad);
        }
    }
    let begin = block_lane(i, quad, octet, lane);
    for (var k = 0u; k < params.k; k += 4u) {
        let rows = block_octet(begin, k, quad, octet, lane);
        add_pieces(&tile, rows[0], rows[1], rhs_piece(k, j));
    }

    if place < slots() {
        for (var row = 0u; row < 8u; row++) {
            store_block4(slot, 8u * octet + row, 4u * quad, tile[row]);
        }
    }
}
