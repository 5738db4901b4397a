// Workgroup tile of a dense product: SIDE x SIDE elements, micro-tiles of 8 x 4, or 8 x 8 in the wide configuration, staged
// through workgroup memory.
import package::common::matmul::{params, Segment, lhs_piece, rhs_piece, Piece, Tile, HALVES, add_outer};
@if(wide)
import package::common::matmul::add_outer_beside;

@if(!small && !wide) const SIDE = 64u;
@if(small) const SIDE = 32u;
@if(wide) const SIDE = 128u;
const QUADS = SIDE / 4u;
// Invocations across the tile. Halves of a micro-tile are as far apart, so that neighbours read neighbouring vectors.
const ACROSS = QUADS / HALVES;
const INVOCATIONS = SIDE / 8u * ACROSS;
// At most 64 bytes of workgroup memory per invocation, which would limit occupancy otherwise.
@if(!small && !wide) const BK = 16u;
@if(small || wide) const BK = 8u;
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
    let quad = local % ACROSS;
    let octet = local / ACROSS;
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
            let a = a_tile[row + 2u * octet];
            let b = a_tile[row + 2u * octet + 1u];
            add_outer(tile, a, b, b_tile[row + quad]);
            @if(wide) {
                add_outer_beside(tile, a, b, b_tile[row + quad + ACROSS]);
            }
        }
        workgroupBarrier();
    }
}
