// One number per block of op(lhs)[m, k] * op(rhs)[k, n], of every block there could be, through workgroup memory: 64 x 64
// of the product a workgroup, 128 invocations of 8 x 4, whose tiles are reduced and never stored.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, rhs_piece, Piece, Tile, add_outer};
import package::score::product::{reduced, store_score};
import package::constants::BLOCK;

const SIDE = 64u;
const DEPTH = 16u;
const ACROSS = SIDE / 4u;
const INVOCATIONS = 128u;
const PIECES = DEPTH / 4u * ACROSS;
const BLOCKS = SIDE / BLOCK;

var<workgroup> left: array<vec4<f32>, DEPTH * ACROSS>;
var<workgroup> right: array<vec4<f32>, DEPTH * ACROSS>;
var<workgroup> sums: array<f32, INVOCATIONS>;

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
    let quad = local % ACROSS;
    let octet = local / ACROSS;

    var tile: Tile;
    for (var k = 0u; k < params.k; k += DEPTH) {
        for (var p = local; p < 2u * PIECES; p += INVOCATIONS) {
            let at = p % PIECES;
            let kk = at / ACROSS * 4u;
            let across4 = at % ACROSS;
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
                    left[(kk + c) * ACROSS + across4] = piece[c];
                } else {
                    right[(kk + c) * ACROSS + across4] = piece[c];
                }
            }
        }
        workgroupBarrier();
        for (var kk = 0u; kk < DEPTH; kk++) {
            let row = kk * ACROSS;
            add_outer(&tile, left[row + 2u * octet], left[row + 2u * octet + 1u], right[row + quad]);
        }
        workgroupBarrier();
    }
    // Sides are multiples of the block, so a tile lies within the product or belongs to no block of it.
    let row = min(i + 8u * octet, params.m - 8u);
    let column = min(j + 4u * quad, params.n - 4u);
    sums[local] = reduced(&tile, row, column);
    workgroupBarrier();

    let down = local / BLOCKS;
    let right_of = local % BLOCKS;
    if down < BLOCKS && i + down * BLOCK < params.m && j + right_of * BLOCK < params.n {
        var total = 0.0;
        for (var q = 0u; q < BLOCK / 4u; q++) {
            var sum = 0.0;
            for (var o = 0u; o < BLOCK / 8u; o++) {
                sum += sums[(down * (BLOCK / 8u) + o) * ACROSS + right_of * (BLOCK / 4u) + q];
            }
            total += sum;
        }
        store_score((i / BLOCK + down) * (params.n / BLOCK) + j / BLOCK + right_of, total);
    }
}
