// Workgroup tile of a dense product: SIDE x SIDE elements, BK = 16, micro-tiles of 8 x 4, staged through workgroup
// memory.
import package::common::matmul::{params, Segment, lhs_piece, rhs_piece, Piece, Tile, add_outer};

@if(!small) const SIDE = 64u;
@if(small) const SIDE = 32u;
const QUADS = SIDE / 4u;
const INVOCATIONS = SIDE / 8u * QUADS;
// 64 bytes of workgroup memory per invocation, which would limit occupancy otherwise.
@if(!small) const BK = 16u;
@if(small) const BK = 8u;
const PIECES = BK / 4u * QUADS;

// Row stride of the staged tiles, in vectors; one of padding against bank conflicts.
@if(!padded) const ROW = QUADS;
@if(padded) const ROW = QUADS + 1u;

// Staged tiles, k-major: row kk holds the elements along m (n) at contraction index kk.
var<workgroup> a_tile: array<vec4<f32>, BK * ROW>;
var<workgroup> b_tile: array<vec4<f32>, BK * ROW>;

// Accumulates into each invocation's micro-tile its part of the product at row `i` and column `j`, over one
// segment of the contraction. Contains barriers:
// all invocations of the workgroup must call it.
fn add_product(tile: ptr<function, Tile>, i: u32, j: u32, segment: Segment, local: u32) {
    let quad = local % QUADS;
    let octet = local / QUADS;
    for (var k = segment.begin; k < segment.end; k += BK) {
        for (var p = local; p < 2u * PIECES; p += INVOCATIONS) {
            let at = p % PIECES;
            let kk = at / QUADS * 4u;
            let across4 = at % QUADS;
            var piece: Piece;
            if k + kk < params.k {
                if p < PIECES {
                    piece = lhs_piece(i + across4 * 4u, k + kk);
                } else {
                    piece = rhs_piece(k + kk, j + across4 * 4u);
                }
            }
            for (var c = 0u; c < 4u; c++) {
                if p < PIECES {
                    a_tile[(kk + c) * ROW + across4] = piece[c];
                } else {
                    b_tile[(kk + c) * ROW + across4] = piece[c];
                }
            }
        }
        workgroupBarrier();
        for (var kk = 0u; kk < BK; kk++) {
            let row = kk * ROW;
            add_outer(tile, a_tile[row + 2u * octet], a_tile[row + 2u * octet + 1u], b_tile[row + quad]);
        }
        workgroupBarrier();
    }
}
