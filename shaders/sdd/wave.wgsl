// The blocks of op(lhs)[m, k] * op(rhs)[k, n] that a topology names, without workgroup memory. An invocation owns
// 8 x 4 elements of a block, and eight run as one subgroup: invocations with the same rows share the loads of `lhs`.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, rhs_piece, lhs4, lhs_at, contraction, ended, Piece, Tile, add_pieces};
import package::common::wave::{Octet, lhs_octet};
import package::common::topology::{slot_row, slot_col};
import package::sdd::blocks::{QUADS, OCTETS, slots, in_topology, store_block4};
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
    for (var k = 0u; k < params.k; k += 4u) {
        let rows = block_octet(i, k, quad, octet, lane);
        add_pieces(&tile, rows[0], rows[1], rhs_piece(k, j));
    }

    if place < slots() {
        for (var row = 0u; row < 8u; row++) {
            store_block4(slot, 8u * octet + row, 4u * quad, tile[row]);
        }
    }
}

// An invocation's eight rows of the block whose first row is i, at contraction indices k..k + 3.
fn block_octet(i: u32, k: u32, quad: u32, octet: u32, lane: u32) -> Octet {
    if BLOCK == 8u {
        return halves(i, k, quad);
    }
    if BLOCK == 16u {
        return two_octets(i, k, octet == 1u, lane);
    }
    return lhs_octet(i + 8u * octet, k, lane);
}

// Pairs of lanes have the same eight rows: each loads four.
fn halves(i: u32, k: u32, half: u32) -> Octet {
    let own = lhs_piece(i + 4u * half, k);
    let other = Piece(quadSwapX(own[0]), quadSwapX(own[1]), quadSwapX(own[2]), quadSwapX(own[3]));
    if half == 0u {
        return Octet(own, other);
    }
    return Octet(other, own);
}

// Four lanes have the upper eight of sixteen rows, and four the lower: each loads an eighth of both.
@if(!lhs_t)
fn two_octets(i: u32, k: u32, lower: bool, lane: u32) -> Octet {
    let up = lhs4(lhs_at(i + lane, k));
    let low = lhs4(lhs_at(i + 8u + lane, k));
    let near = transpose(Piece(
        select(subgroupBroadcast(up, 0u), subgroupBroadcast(low, 0u), lower),
        select(subgroupBroadcast(up, 1u), subgroupBroadcast(low, 1u), lower),
        select(subgroupBroadcast(up, 2u), subgroupBroadcast(low, 2u), lower),
        select(subgroupBroadcast(up, 3u), subgroupBroadcast(low, 3u), lower),
    ));
    let far = transpose(Piece(
        select(subgroupBroadcast(up, 4u), subgroupBroadcast(low, 4u), lower),
        select(subgroupBroadcast(up, 5u), subgroupBroadcast(low, 5u), lower),
        select(subgroupBroadcast(up, 6u), subgroupBroadcast(low, 6u), lower),
        select(subgroupBroadcast(up, 7u), subgroupBroadcast(low, 7u), lower),
    ));
    return Octet(ended(near, k), ended(far, k));
}
@if(lhs_t)
fn two_octets(i: u32, k: u32, lower: bool, lane: u32) -> Octet {
    let column = i + lane % 4u * 4u;
    let first = lhs4(lhs_at(contraction(k + lane / 4u), column));
    let second = lhs4(lhs_at(contraction(k + 2u + lane / 4u), column));
    let near = Piece(
        select(subgroupBroadcast(first, 0u), subgroupBroadcast(first, 2u), lower),
        select(subgroupBroadcast(first, 4u), subgroupBroadcast(first, 6u), lower),
        select(subgroupBroadcast(second, 0u), subgroupBroadcast(second, 2u), lower),
        select(subgroupBroadcast(second, 4u), subgroupBroadcast(second, 6u), lower),
    );
    let far = Piece(
        select(subgroupBroadcast(first, 1u), subgroupBroadcast(first, 3u), lower),
        select(subgroupBroadcast(first, 5u), subgroupBroadcast(first, 7u), lower),
        select(subgroupBroadcast(second, 1u), subgroupBroadcast(second, 3u), lower),
        select(subgroupBroadcast(second, 5u), subgroupBroadcast(second, 7u), lower),
    );
    return Octet(ended(near, k), ended(far, k));
}
