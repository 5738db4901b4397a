// SDD, lane variant: the blocks of op(lhs)[m, k] * op(rhs)[k, n] that the topology stores, without workgroup memory.
// Micro-tiles of 8 x 4; a workgroup tile is one block, several small blocks up to 8 invocations, or a quarter of a
// block of 128.
import package::common::grid::workgroup_index;
@if(lhs_gather)
import package::common::grid::round_robin;
import package::common::matmul::{params, segment_of, within_segment, lhs_rows, lhs_piece_of, rhs_piece, Tile, add_pieces};
import package::common::topology::{slot_row, slot_col};
import package::common::pieces::{CUTS, QUADS, OCTETS, first_of};
import package::sdd::blocks::{slots, in_output, in_topology, store_block4};
@if(continued)
import package::sdd::blocks::stored_block4;
import package::constants::BLOCK;

const SLOTS = max(1u, 8u / (QUADS * OCTETS));

@compute @workgroup_size(QUADS, OCTETS, SLOTS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let all = workgroup_index(id, count);
    let segment = segment_of(all);
    var index = within_segment(all);
    @if(lhs_gather) {
        // A routing's grid is dispatched for its capacity, with idle workgroups at the end.
        index = round_robin(index, count.x * count.y, params.threads);
    }
    let slot = index / (CUTS * CUTS) * SLOTS + local.z;
    if slot >= slots() {
        return;
    }
    let within = first_of(index) + vec2<u32>(8u * local.y, 4u * local.x);
    let i = slot_row(in_topology(slot)) * BLOCK + within.x;
    let j = slot_col(in_topology(slot)) * BLOCK + within.y;

    var tile: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u; row++) {
            tile[row] = stored_block4(slot, within.x + row, within.y);
        }
    }
    let upper = lhs_rows(i);
    let lower = lhs_rows(i + 4u);
    for (var k = segment.begin; k < segment.end; k += 4u) {
        add_pieces(&tile, lhs_piece_of(upper, k), lhs_piece_of(lower, k), rhs_piece(k, j));
    }

    for (var row = 0u; row < 8u; row++) {
        store_block4(in_output(slot, segment.number), within.x + row, within.y, tile[row]);
    }
}
