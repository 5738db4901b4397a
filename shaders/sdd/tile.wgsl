// SDD, tile variant: the blocks of op(lhs)[m, k] * op(rhs)[k, n] that the topology stores, staged through workgroup
// memory. Small blocks share a workgroup up to 64 invocations (32 in the small configuration) with micro-tiles of 8 x
// 4; a block of 128 is split into quarters. The wide configuration has micro-tiles of 8 x 8, and whole blocks of 128.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, segment_of, within_segment, lhs_rows, lhs_piece_of, rhs_piece, Piece, Tile, HALVES, add_outer};
@if(wide)
import package::common::matmul::add_outer_beside;
import package::common::topology::{slot_row, slot_col};
import package::common::pieces::{CUTS, QUADS, OCTETS, first_of};
import package::sdd::blocks::{slots, in_output, in_topology, store_block4};
@if(continued)
import package::sdd::blocks::stored_block4;
import package::constants::BLOCK;

// Invocations across a block. Halves of a micro-tile are as far apart.
const ACROSS = QUADS / HALVES;
@if(!small) const SLOTS = max(1u, 64u / (ACROSS * OCTETS));
@if(small) const SLOTS = max(1u, 32u / (ACROSS * OCTETS));
// At most 80 bytes of workgroup memory per invocation, which would limit occupancy otherwise.
@if(!wide) const BK = clamp(BLOCK / 4u, 4u, 16u);
@if(wide) const BK = 8u;
// Row stride of the staged tiles, in vectors; one of padding against bank conflicts.
@if(!padded) const ROW = QUADS;
@if(padded) const ROW = QUADS + 1u;
const PANEL = BK * ROW;
const PIECES = BK / 4u * QUADS;

// One pair of staged tiles per block of the workgroup.
var<workgroup> a_tile: array<vec4<f32>, SLOTS * PANEL>;
var<workgroup> b_tile: array<vec4<f32>, SLOTS * PANEL>;

// Vector of the staged rows and columns that an invocation stages.
@if(!wide)
fn staged_quad(x: u32, within: u32) -> u32 {
    return x;
}
@if(wide)
fn staged_quad(x: u32, within: u32) -> u32 {
    return within % QUADS;
}

@compute @workgroup_size(ACROSS, OCTETS, SLOTS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    // Invocations past the last slot repeat it, because every invocation must reach the barriers; they store nothing.
    let all = workgroup_index(id, count);
    let segment = segment_of(all);
    let index = within_segment(all);
    let first = index / (CUTS * CUTS) * SLOTS;
    if first >= slots() {
        return;
    }
    let slot = min(first + local.z, slots() - 1u);
    let corner = first_of(index);
    let i = slot_row(in_topology(slot)) * BLOCK + corner.x;
    let j = slot_col(in_topology(slot)) * BLOCK + corner.y;
    let own = corner + vec2<u32>(8u * local.y, 4u * local.x);
    let panel = local.z * PANEL;
    let within = local.y * ACROSS + local.x;
    // An invocation stages the same four rows and columns at every K step, which hoists their offsets.
    let quad = staged_quad(local.x, within);
    let begin = lhs_rows(i + 4u * quad);

    var tile: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u * HALVES; row++) {
            tile[row] = stored_block4(slot, own.x + row % 8u, own.y + row / 8u * 4u * ACROSS);
        }
    }
    for (var k = segment.begin; k < segment.end; k += BK) {
        for (var p = within; p < 2u * PIECES; p += ACROSS * OCTETS) {
            let kk = p % PIECES / QUADS * 4u;
            var piece: Piece;
            if k + kk < params.k {
                if p < PIECES {
                    piece = lhs_piece_of(begin, k + kk);
                } else {
                    piece = rhs_piece(k + kk, j + 4u * quad);
                }
            }
            for (var c = 0u; c < 4u; c++) {
                let at = panel + (kk + c) * ROW + quad;
                if p < PIECES {
                    a_tile[at] = piece[c];
                } else {
                    b_tile[at] = piece[c];
                }
            }
        }
        workgroupBarrier();
        for (var kk = 0u; kk < BK; kk++) {
            let at = panel + kk * ROW;
            let a = a_tile[at + 2u * local.y];
            let b = a_tile[at + 2u * local.y + 1u];
            add_outer(&tile, a, b, b_tile[at + local.x]);
            @if(wide) {
                add_outer_beside(&tile, a, b, b_tile[at + local.x + ACROSS]);
            }
        }
        workgroupBarrier();
    }

    if first + local.z < slots() {
        for (var row = 0u; row < 8u * HALVES; row++) {
            let column = own.y + row / 8u * 4u * ACROSS;
            store_block4(in_output(slot, segment.number), own.x + row % 8u, column, tile[row]);
        }
    }
}
