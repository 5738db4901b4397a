// Operand loads shared by a subgroup of eight lanes: each lane loads an eighth and broadcasts it.
@if(rhs_gather)
import package::common::matmul::gathered_one;
@if(!rhs_gather)
import package::common::matmul::rhs_piece;
import package::common::matmul::{params, lhs4, lhs_at, lhs_row, rhs4, rhs_at, contraction, ended, Piece};

// Two fragments: eight elements along m (or n) at four contraction indices.
alias Octet = array<Piece, 2>;

// Rows i..i + 7 of op(lhs) at contraction indices k..k + 3. i and k are uniform over the subgroup.
fn lhs_octet(i: u32, k: u32, lane: u32) -> Octet {
    return lhs_octet_of(lhs_lane(i, lane), k, lane);
}

// Offset of a lane's share of rows i..i + 7, hoisted out of the loop over k.
@if(!lhs_t)
fn lhs_lane(i: u32, lane: u32) -> u32 {
    return lhs_row(i + lane);
}
@if(lhs_t)
fn lhs_lane(i: u32, lane: u32) -> u32 {
    return min(i + lane % 2u * 4u, (params.m - 1u) & ~3u);
}

@if(!lhs_t)
fn lhs_octet_of(begin: u32, k: u32, lane: u32) -> Octet {
    let octet = octet_of_rows(lhs4(begin + k));
    return Octet(ended(octet[0], k), ended(octet[1], k));
}
@if(lhs_t)
fn lhs_octet_of(begin: u32, k: u32, lane: u32) -> Octet {
    let octet = octet_of_columns(lhs4(lhs_at(contraction(k + lane / 2u), begin)));
    return Octet(ended(octet[0], k), ended(octet[1], k));
}

// Columns j..j + 7 of op(rhs) at contraction indices k..k + 3. j and k are uniform over the subgroup.
@if(!rhs_t)
fn rhs_octet(k: u32, j: u32, lane: u32) -> Octet {
    let column = min(j + lane % 2u * 4u, (params.n - 1u) & ~3u);
    let own = rhs4(rhs_at(contraction(k + lane / 2u), column));
    let octet = octet_of_columns(own);
    return Octet(ended(octet[0], k), ended(octet[1], k));
}
@if(rhs_t)
fn rhs_octet(k: u32, j: u32, lane: u32) -> Octet {
    let own = rhs4(rhs_at(min(j + lane, params.n - 1u), k));
    let octet = octet_of_rows(own);
    return Octet(ended(octet[0], k), ended(octet[1], k));
}

// Columns j..j + 3 of op(rhs), which differ between lanes, at contraction indices k..k + 3, which are uniform.
// Gathered row indices are loaded by one lane each and broadcast.
fn shared_rhs_piece(k: u32, j: u32, lane: u32) -> Piece {
    @if(!rhs_gather) {
        return rhs_piece(k, j);
    }
    @if(rhs_gather) {
        let column = min(j, (params.n - 1u) & ~3u);
        let own = rhs_at(gathered_one(k + lane % 4u), 0u);
        return Piece(
            rhs4(quadBroadcast(own, 0u) + column), rhs4(quadBroadcast(own, 1u) + column),
            rhs4(quadBroadcast(own, 2u) + column), rhs4(quadBroadcast(own, 3u) + column),
        );
    }
}

// Each lane holds one row: four contraction indices of one element along m (n).
fn octet_of_rows(own: vec4<f32>) -> Octet {
    return Octet(
        transpose(Piece(
            subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u),
            subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u),
        )),
        transpose(Piece(
            subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u),
            subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u),
        )),
    );
}

// Each lane holds half a column: elements 0..3 or 4..7 at one contraction index.
fn octet_of_columns(own: vec4<f32>) -> Octet {
    return Octet(
        Piece(
            subgroupBroadcast(own, 0u), subgroupBroadcast(own, 2u),
            subgroupBroadcast(own, 4u), subgroupBroadcast(own, 6u),
        ),
        Piece(
            subgroupBroadcast(own, 1u), subgroupBroadcast(own, 3u),
            subgroupBroadcast(own, 5u), subgroupBroadcast(own, 7u),
        ),
    );
}

// Combines the fragments of two neighbouring lanes; `second` marks the lane that holds the second one.
fn pair_octet(own: Piece, second: bool) -> Octet {
    let other = Piece(quadSwapX(own[0]), quadSwapX(own[1]), quadSwapX(own[2]), quadSwapX(own[3]));
    return Octet(
        Piece(
            select(own[0], other[0], second), select(own[1], other[1], second),
            select(own[2], other[2], second), select(own[3], other[3], second),
        ),
        Piece(
            select(other[0], own[0], second), select(other[1], own[1], second),
            select(other[2], own[2], second), select(other[3], own[3], second),
        ),
    );
}

// Combines the fragments of four neighbouring lanes: 16 elements along m.
fn quad_octets(own: Piece) -> array<Piece, 4> {
    return array<Piece, 4>(
        Piece(
            quadBroadcast(own[0], 0u), quadBroadcast(own[1], 0u),
            quadBroadcast(own[2], 0u), quadBroadcast(own[3], 0u),
        ),
        Piece(
            quadBroadcast(own[0], 1u), quadBroadcast(own[1], 1u),
            quadBroadcast(own[2], 1u), quadBroadcast(own[3], 1u),
        ),
        Piece(
            quadBroadcast(own[0], 2u), quadBroadcast(own[1], 2u),
            quadBroadcast(own[2], 2u), quadBroadcast(own[3], 2u),
        ),
        Piece(
            quadBroadcast(own[0], 3u), quadBroadcast(own[1], 3u),
            quadBroadcast(own[2], 3u), quadBroadcast(own[3], 3u),
        ),
    );
}
