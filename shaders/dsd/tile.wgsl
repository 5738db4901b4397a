// DSD, tile variant: product[m, n] = op(S) * op(rhs) for block-sparse S, staged through workgroup memory. A workgroup
// tile is one block row tall (BM = BLOCK) and BN columns wide, which gives 64 invocations with micro-tiles of 8 x 4
// (128 for blocks of 64, 256 for 128); half as many in the small configuration.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, rhs_piece, Piece, Tile, add_outer};
import package::common::topology::{line_slot, line_place};
import package::dsd::blocks::{line_of, block_piece};
import package::common::epilogue::store4;
import package::constants::BLOCK;

@if(!small) const WIDE = max(64u, 2048u / BLOCK);
@if(small) const WIDE = max(32u, 1024u / BLOCK);
const DEPTH = min(BLOCK, 16u);
const TALL_QUADS = BLOCK / 4u;
const WIDE_QUADS = WIDE / 4u;
const INVOCATIONS = BLOCK / 8u * WIDE_QUADS;
const LEFT_PIECES = DEPTH / 4u * TALL_QUADS;
const RIGHT_PIECES = DEPTH / 4u * WIDE_QUADS;
// Padding per k-row of the staged tiles, in vectors, against bank conflicts.
@if(!padded) const GAP = 0u;
@if(padded) const GAP = 1u;
const TALL_ROW = TALL_QUADS + GAP;
const WIDE_ROW = WIDE_QUADS + GAP;

var<workgroup> left: array<vec4<f32>, DEPTH * TALL_ROW>;
var<workgroup> right: array<vec4<f32>, DEPTH * WIDE_ROW>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = (params.n + WIDE - 1u) / WIDE;
    let index = workgroup_index(id, count);
    let row = index / across;
    let j = index % across * WIDE;
    if row * BLOCK >= params.m {
        return;
    }
    let quad = local % WIDE_QUADS;
    let octet = local / WIDE_QUADS;

    var tile: Tile;
    let line = line_of(row);
    for (var entry = line.begin; entry < line.end; entry++) {
        let slot = line_slot(line, entry);
        let first = line_place(line, slot) * BLOCK;
        for (var k = 0u; k < BLOCK; k += DEPTH) {
            for (var p = local; p < LEFT_PIECES; p += INVOCATIONS) {
                let kk = p / TALL_QUADS * 4u;
                let piece = block_piece(slot, p % TALL_QUADS * 4u, k + kk);
                for (var c = 0u; c < 4u; c++) {
                    left[(kk + c) * TALL_ROW + p % TALL_QUADS] = piece[c];
                }
            }
            for (var p = local; p < RIGHT_PIECES; p += INVOCATIONS) {
                let kk = p / WIDE_QUADS * 4u;
                let piece = rhs_piece(first + k + kk, j + p % WIDE_QUADS * 4u);
                for (var c = 0u; c < 4u; c++) {
                    right[(kk + c) * WIDE_ROW + p % WIDE_QUADS] = piece[c];
                }
            }
            workgroupBarrier();
            for (var kk = 0u; kk < DEPTH; kk++) {
                let at = kk * TALL_ROW + 2u * octet;
                add_outer(&tile, left[at], left[at + 1u], right[kk * WIDE_ROW + quad]);
            }
            workgroupBarrier();
        }
    }

    for (var r = 0u; r < 8u; r++) {
        store4(row * BLOCK + 8u * octet + r, j + 4u * quad, tile[r], vec4<f32>());
    }
}
