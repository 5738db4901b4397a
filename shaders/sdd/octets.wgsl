// How eight lanes of a subgroup that own 8 x 4 elements each of one or several blocks share the rows of `lhs` that the blocks
// stand in.
import package::common::matmul::{lhs_rows, lhs_row, lhs_piece_of, lhs4, lhs_at, contraction, ended, Piece};
import package::common::wave::{Octet, lhs_lane, lhs_octet_of};
import package::constants::BLOCK;

// Where what an invocation loads of the block whose first row is i begins: what need not be found anew for every k.
fn block_lane(i: u32, quad: u32, octet: u32, lane: u32) -> vec4<u32> {
    if BLOCK == 8u {
        return lhs_rows(i + 4u * quad);
    }
    if BLOCK == 16u {
        return two_lanes(i, lane);
    }
    return vec4<u32>(lhs_lane(i + 8u * octet, lane));
}

// An invocation's eight rows of the block, at contraction indices k..k + 3.
fn block_octet(begin: vec4<u32>, k: u32, quad: u32, octet: u32, lane: u32) -> Octet {
    if BLOCK == 8u {
        return halves(begin, k, quad);
    }
    if BLOCK == 16u {
        return two_octets(begin, k, octet == 1u, lane);
    }
    return lhs_octet_of(begin.x, k, lane);
}

// Pairs of lanes have the same eight rows: each loads four.
fn halves(begin: vec4<u32>, k: u32, half: u32) -> Octet {
    let own = lhs_piece_of(begin, k);
    let other = Piece(quadSwapX(own[0]), quadSwapX(own[1]), quadSwapX(own[2]), quadSwapX(own[3]));
    if half == 0u {
        return Octet(own, other);
    }
    return Octet(other, own);
}

// Four lanes have the upper eight of sixteen rows, and four the lower: each loads an eighth of both.
@if(!lhs_t)
fn two_lanes(i: u32, lane: u32) -> vec4<u32> {
    return vec4<u32>(lhs_row(i + lane), lhs_row(i + 8u + lane), 0u, 0u);
}
@if(lhs_t)
fn two_lanes(i: u32, lane: u32) -> vec4<u32> {
    return vec4<u32>(i + lane % 4u * 4u);
}

@if(!lhs_t)
fn two_octets(begin: vec4<u32>, k: u32, lower: bool, lane: u32) -> Octet {
    let up = lhs4(begin.x + k);
    let low = lhs4(begin.y + k);
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
fn two_octets(begin: vec4<u32>, k: u32, lower: bool, lane: u32) -> Octet {
    let first = lhs4(lhs_at(contraction(k + lane / 4u), begin.x));
    let second = lhs4(lhs_at(contraction(k + 2u + lane / 4u), begin.x));
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
