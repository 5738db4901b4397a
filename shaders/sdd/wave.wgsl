// The blocks of op(lhs)[m, k] * op(rhs)[k, n] that a topology names, without workgroup memory. An invocation owns
// 16 x 4 elements of a block, or 8 x 4 of one of 8, and eight run as one subgroup: those with the same rows share the loads
// of `lhs`.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_rows, lhs_piece_of, rhs_piece, Tile, add_pieces};
import package::common::wave::{lhs_lane, lhs_octet_of, pair_octet, quad_octets};
import package::common::topology::{slot_row, slot_col};
import package::sdd::blocks::{SPAN, CUTS, QUADS, first_of, slots, in_topology, store_block4};
@if(continued)
import package::sdd::blocks::stored_block4;
import package::constants::BLOCK;

const TALL = min(BLOCK, 16u);
const EACH = QUADS * (SPAN / TALL);
const SLOTS = max(1u, 8u / EACH);

@compute @workgroup_size(EACH * SLOTS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // Invocations past the last block repeat it, since their subgroup needs them, and store nothing.
    let index = workgroup_index(id, count);
    let first = index / (CUTS * CUTS) * SLOTS;
    if first >= slots() {
        return;
    }
    let place = first + local / EACH;
    let slot = min(place, slots() - 1u);
    let quad = local % QUADS;
    let within = first_of(index) + vec2<u32>(local % EACH / QUADS * TALL, 4u * quad);
    let i = slot_row(in_topology(slot)) * BLOCK + within.x;
    let j = slot_col(in_topology(slot)) * BLOCK + within.y;

    // Eight rows, and eight more.
    var tile: Tile;
    var more: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u; row++) {
            tile[row] = stored_block4(slot, within.x + row, within.y);
            if TALL > 8u {
                more[row] = stored_block4(slot, within.x + 8u + row, within.y);
            }
        }
    }
    // Where the rows that a lane loads begin: four of its own, or one of each eight.
    var four: vec4<u32>;
    var ones: vec2<u32>;
    if BLOCK < 32u {
        four = lhs_rows(i + 4u * quad);
    } else {
        ones = vec2<u32>(lhs_lane(i, lane), lhs_lane(i + 8u, lane));
    }
    for (var k = 0u; k < params.k; k += 4u) {
        let columns = rhs_piece(k, j);
        if BLOCK == 8u {
            // Two lanes to a block: each loads four rows.
            let rows = pair_octet(lhs_piece_of(four, k), quad == 1u);
            add_pieces(&tile, rows[0], rows[1], columns);
        } else if BLOCK == 16u {
            // Four lanes to a block: each loads four rows.
            let rows = quad_octets(lhs_piece_of(four, k));
            add_pieces(&tile, rows[0], rows[1], columns);
            add_pieces(&more, rows[2], rows[3], columns);
        } else {
            // Eight lanes have the same rows: each loads two.
            let rows = lhs_octet_of(ones.x, k, lane);
            let others = lhs_octet_of(ones.y, k, lane);
            add_pieces(&tile, rows[0], rows[1], columns);
            add_pieces(&more, others[0], others[1], columns);
        }
    }

    if place < slots() {
        for (var row = 0u; row < 8u; row++) {
            store_block4(slot, within.x + row, within.y, tile[row]);
            if TALL > 8u {
                store_block4(slot, within.x + 8u + row, within.y, more[row]);
            }
        }
    }
}
