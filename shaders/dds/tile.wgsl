// DDS, tile variant: product[m, n] = op(lhs) * op(S) for block-sparse S, staged through workgroup memory. A workgroup
// tile is one block column wide (BN = BLOCK) and BM rows tall, which gives 64 invocations with micro-tiles of 8 x 4
// (128 for blocks of 64, 256 for 128); half as many in the small configuration. The wide one has micro-tiles of 8 x 8.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, Piece, Tile, HALVES, add_outer};
@if(wide)
import package::common::matmul::add_outer_beside;
import package::common::topology::{line_slot, line_place};
import package::dds::blocks::{line_of, block_piece};
@if(window)
import package::dds::blocks::is_bound;
import package::common::epilogue::{store4, bias4};
@if(continued)
import package::common::epilogue::stored4;
import package::constants::BLOCK;

@if(!small && !wide) const BM = max(64u, 2048u / BLOCK);
@if(wide) const BM = 128u;
@if(small) const BM = max(32u, 1024u / BLOCK);
const BM_QUADS = BM / 4u;
const BN_QUADS = BLOCK / 4u;
// Invocations across the tile. Halves of a micro-tile are as far apart, so that neighbours read neighbouring vectors.
const ACROSS = BN_QUADS / HALVES;
const INVOCATIONS = BM / 8u * ACROSS;
// At most 72 bytes of workgroup memory per invocation, which would limit occupancy otherwise; blocks of 8 take more.
@if(!wide) const BK = select(8u, 16u, BM + BLOCK <= INVOCATIONS);
@if(wide) const BK = 8u;
const A_PIECES = BK / 4u * BM_QUADS;
const B_PIECES = BK / 4u * BN_QUADS;
// Padding per k-row of the staged tiles, in vectors, against bank conflicts.
@if(!padded) const PAD = 0u;
@if(padded) const PAD = 1u;
const A_STRIDE = BM_QUADS + PAD;
const B_STRIDE = BN_QUADS + PAD;

var<workgroup> a_tile: array<vec4<f32>, BK * A_STRIDE>;
var<workgroup> b_tile: array<vec4<f32>, BK * B_STRIDE>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = params.n / BLOCK;
    let index = workgroup_index(id, count);
    let i = index / across * BM;
    let column = index % across;
    if i >= params.m {
        return;
    }
    let quad = local % ACROSS;
    let octet = local / ACROSS;

    var tile: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u * HALVES; row++) {
            tile[row] = stored4(i + 8u * octet + row % 8u, column * BLOCK + 4u * (quad + row / 8u * ACROSS));
        }
    }
    let line = line_of(column);
    for (var entry = line.begin; entry < line.end; entry++) {
        let slot = line_slot(line, entry);
        @if(window) {
            if !is_bound(slot) {
                continue;
            }
        }
        let first = line_place(line, slot) * BLOCK;
        for (var k = 0u; k < BLOCK; k += BK) {
            for (var p = local; p < A_PIECES; p += INVOCATIONS) {
                let kk = p / BM_QUADS * 4u;
                let piece = lhs_piece(i + p % BM_QUADS * 4u, first + k + kk);
                for (var c = 0u; c < 4u; c++) {
                    a_tile[(kk + c) * A_STRIDE + p % BM_QUADS] = piece[c];
                }
            }
            for (var p = local; p < B_PIECES; p += INVOCATIONS) {
                let kk = p / BN_QUADS * 4u;
                let piece = block_piece(slot, k + kk, p % BN_QUADS * 4u);
                for (var c = 0u; c < 4u; c++) {
                    b_tile[(kk + c) * B_STRIDE + p % BN_QUADS] = piece[c];
                }
            }
            workgroupBarrier();
            for (var kk = 0u; kk < BK; kk++) {
                let at = kk * A_STRIDE + 2u * octet;
                add_outer(&tile, a_tile[at], a_tile[at + 1u], b_tile[kk * B_STRIDE + quad]);
                @if(wide) {
                    let beside = b_tile[kk * B_STRIDE + quad + ACROSS];
                    add_outer_beside(&tile, a_tile[at], a_tile[at + 1u], beside);
                }
            }
            workgroupBarrier();
        }
    }

    for (var half = 0u; half < HALVES; half++) {
        let j = column * BLOCK + 4u * (quad + half * ACROSS);
        let shift = bias4(j);
        for (var row = 0u; row < 8u; row++) {
            store4(i + 8u * octet + row, j, tile[8u * half + row], shift);
        }
    }
}
