// Dense matmul through workgroup memory: 64 x 64 of the product a workgroup, 128 invocations of 8 x 4.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, rhs_piece, Piece, Tile, add_outer};
import package::common::epilogue::store4;
@if(continued)
import package::common::epilogue::stored4;

const SIDE = 64u;
const DEPTH = 16u;
const QUADS = SIDE / 4u;
const INVOCATIONS = 128u;
const PIECES = DEPTH / 4u * QUADS;

// One contraction index after the other, each a run of 64 elements across.
var<workgroup> left: array<vec4<f32>, DEPTH * QUADS>;
var<workgroup> right: array<vec4<f32>, DEPTH * QUADS>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = (params.n + SIDE - 1u) / SIDE;
    let index = workgroup_index(id, count);
    let i = index / across * SIDE;
    let j = index % across * SIDE;
    if i >= params.m {
        return;
    }
    let quad = local % QUADS;
    let octet = local / QUADS;

    var tile: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u; row++) {
            tile[row] = stored4(i + 8u * octet + row, j + 4u * quad);
        }
    }
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
            add_outer(&tile, left[row + 2u * octet], left[row + 2u * octet + 1u], right[row + quad]);
        }
        workgroupBarrier();
    }

    for (var row = 0u; row < 8u; row++) {
        store4(i + 8u * octet + row, j + 4u * quad, tile[row]);
    }
}
