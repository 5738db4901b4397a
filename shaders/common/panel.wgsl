// 64 x 64 of a product of two dense operands through workgroup memory: 128 invocations of 8 x 4.
import package::common::matmul::{params, lhs_piece, rhs_piece, Piece, Tile, add_outer};

const SIDE = 64u;
const QUADS = SIDE / 4u;
const INVOCATIONS = 128u;
const DEPTH = 16u;
const PIECES = DEPTH / 4u * QUADS;

// One contraction index after the other, each a run of 64 elements across.
var<workgroup> left: array<vec4<f32>, DEPTH * QUADS>;
var<workgroup> right: array<vec4<f32>, DEPTH * QUADS>;

// Adds to each invocation's tile its part of the product at row `i` and column `j`. All of them call it together.
fn add_product(tile: ptr<function, Tile>, i: u32, j: u32, local: u32) {
    let quad = local % QUADS;
    let octet = local / QUADS;
    for (var k = 0u; k < params.k; k += DEPTH) {
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
                    left[(kk + c) * QUADS + across4] = piece[c];
                } else {
                    right[(kk + c) * QUADS + across4] = piece[c];
                }
            }
        }
        workgroupBarrier();
        for (var kk = 0u; kk < DEPTH; kk++) {
            let row = kk * QUADS;
            add_outer(tile, left[row + 2u * octet], left[row + 2u * octet + 1u], right[row + quad]);
        }
        workgroupBarrier();
    }
}
