// SDD, subgroups of eight: the blocks of op(lhs)[m, k] * op(rhs)[k, n] that the topology stores, without workgroup
// memory. Micro-tiles of 16 x 4, or 8 x 4 for blocks of 8; lanes with the same rows share the loads of `lhs`. Slots
// are in row order until a pattern changes, so the blocks of a workgroup often lie in one block row and share its
// loads as well.
import package::common::grid::workgroup_index;
@if(lhs_gather)
import package::common::grid::round_robin;
import package::common::matmul::{params, segment_of, within_segment, lhs_rows, lhs_piece_of, rhs_piece, Tile, add_pieces};
import package::common::wave::{lhs_lane, lhs_octet_of, pair_octet, quad_octets};
import package::common::topology::{slot_row, slot_col};
import package::common::pieces::{SPAN, CUTS, QUADS, first_of};
import package::sdd::blocks::{slots, in_output, in_topology, store_block4};
@if(continued)
import package::sdd::blocks::stored_block4;
import package::constants::BLOCK;

const TM = min(BLOCK, 16u);
const EACH = QUADS * (SPAN / TM);
const SLOTS = max(1u, 8u / EACH);

@compute @workgroup_size(EACH * SLOTS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // Invocations past the last slot repeat it, because the subgroup broadcasts need all lanes; they store nothing.
    let all = workgroup_index(id, count);
    let segment = segment_of(all);
    var index = within_segment(all);
    @if(lhs_gather) {
        // A routing's grid is dispatched for its capacity, with idle workgroups at the end.
        index = round_robin(index, count.x * count.y, params.threads);
    }
    let first = index / (CUTS * CUTS) * SLOTS;
    if first >= slots() {
        return;
    }
    let place = first + local / EACH;
    let slot = min(place, slots() - 1u);
    let quad = local % QUADS;
    let within = first_of(index) + vec2<u32>(local % EACH / QUADS * TM, 4u * quad);
    let i = row_of(slot) * BLOCK + within.x;
    let j = slot_col(in_topology(slot)) * BLOCK + within.y;

    // Rows 0..7 and 8..15.
    var tile: Tile;
    var more: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u; row++) {
            tile[row] = stored_block4(slot, within.x + row, within.y);
            if TM > 8u {
                more[row] = stored_block4(slot, within.x + 8u + row, within.y);
            }
        }
    }
    if BLOCK >= 32u || have_one_row(first) {
        // All eight lanes need the same rows: each loads one of the first eight and one of the second.
        let begin = vec2<u32>(lhs_lane(i, lane), lhs_lane(i + 8u, lane));
        for (var k = segment.begin; k < segment.end; k += 4u) {
            let columns = rhs_piece(k, j);
            let rows = lhs_octet_of(begin.x, k, lane);
            add_pieces(&tile, rows[0], rows[1], columns);
            if TM > 8u {
                let others = lhs_octet_of(begin.y, k, lane);
                add_pieces(&more, others[0], others[1], columns);
            }
        }
    } else {
        // The two or four lanes of a block load four rows each.
        let begin = lhs_rows(i + 4u * quad);
        for (var k = segment.begin; k < segment.end; k += 4u) {
            let columns = rhs_piece(k, j);
            let own = lhs_piece_of(begin, k);
            if BLOCK == 8u {
                let rows = pair_octet(own, quad == 1u);
                add_pieces(&tile, rows[0], rows[1], columns);
            } else {
                let rows = quad_octets(own);
                add_pieces(&tile, rows[0], rows[1], columns);
                add_pieces(&more, rows[2], rows[3], columns);
            }
        }
    }

    if place < slots() {
        for (var row = 0u; row < 8u; row++) {
            store_block4(in_output(slot, segment.number), within.x + row, within.y, tile[row]);
            if TM > 8u {
                store_block4(in_output(slot, segment.number), within.x + 8u + row, within.y, more[row]);
            }
        }
    }
}

fn row_of(slot: u32) -> u32 {
    return slot_row(in_topology(slot));
}

// Whether the blocks of a workgroup, at most four, lie in one block row.
fn have_one_row(first: u32) -> bool {
    let others = min(vec3<u32>(1u, 2u, 3u), vec3<u32>(SLOTS - 1u));
    let place = min(vec3<u32>(first) + others, vec3<u32>(slots() - 1u));
    return all(vec3<u32>(row_of(place.x), row_of(place.y), row_of(place.z)) == vec3<u32>(row_of(first)));
}
