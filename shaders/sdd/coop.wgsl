// SDD, cooperative-matrix variant: the blocks of op(lhs)[m, k] * op(rhs)[k, n] that the topology stores; see
// common/coop.wgsl. A workgroup tile is one block, or a BM x BN piece of a large one; of small blocks, a workgroup
// computes PARTS, so that it has subgroups enough to hide latency.
import package::common::matmul::{params, segment_of};
import package::common::coop::{
    INVOCATIONS, RESULT_QUADS, A_UNITS, LOADS, Prefetch, subtile_of, unit_of, is_of_lhs, a_place, b_place, load_a4,
    load_b4, stage, multiply, store_accumulators, result_place, result4,
};
import package::common::topology::{topology, NNZ, slot_row, slot_col};
import package::sdd::blocks::{in_output, in_topology, store_block4};
@if(continued)
import package::sdd::blocks::stored_block4;
import package::constants::{BLOCK, BM, BN, BK, ROWS, COLUMNS, PARTS};

const PIECES = BLOCK / BM;

// Row and column in the whole product at which each part begins.
var<workgroup> origins: array<vec2<u32>, PARTS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_size) size: u32,
) {
    // Inlines `workgroup_index`, because naga treats function results as non-uniform.
    let all = id.y * count.x + id.x;
    // Inlines `segment_of` and `within_segment`, for the same reason.
    @if(split)
    let begin = all / params.workgroups * params.span;
    @if(split)
    let end = min(begin + params.span, params.k);
    @if(split)
    let index = all % params.workgroups;
    @if(!split)
    let begin = 0u;
    @if(!split)
    let end = params.k;
    @if(!split)
    let index = all;
    // Inlines `slots` of sdd/blocks.wgsl, for the same reason.
    @if(!window)
    let there = topology[NNZ];
    @if(window)
    let there = min(params.slots, topology[NNZ] - min(topology[NNZ], params.first_slot));
    let first = index / (PIECES * PIECES) * PARTS;
    if first >= there {
        return;
    }
    let piece = vec2<u32>(index / PIECES % PIECES * BM, index % PIECES * BN);
    if local < PARTS {
        // Parts past the last slot repeat it, because all subgroups reach the barriers; they store nothing.
        let slot = in_topology(min(first + local, there - 1u));
        origins[local] = vec2<u32>(slot_row(slot), slot_col(slot)) * BLOCK + piece;
    }
    workgroupBarrier();

    let subtile = subtile_of(local, size);
    var prefetch: Prefetch;
    fetch_parts(begin, local, &prefetch);
    for (var k = begin; k < end; k += BK) {
        stage(&prefetch, local);
        workgroupBarrier();
        if k + BK < end {
            fetch_parts(k + BK, local, &prefetch);
        }
        multiply(subtile);
        workgroupBarrier();
    }

    // Fragments go through workgroup memory to the store, one of each subgroup tile at a time.
    for (var row = 0u; row < ROWS; row++) {
        for (var column = 0u; column < COLUMNS; column++) {
            store_accumulators(subtile, row, column);
            workgroupBarrier();
            store(row, column, first, there, piece, segment_of(all).number, local);
            workgroupBarrier();
        }
    }
}

// Prefetches the K step at contraction index k of all parts.
fn fetch_parts(k: u32, local: u32, prefetch: ptr<function, Prefetch>) {
    for (var each = 0u; each < LOADS; each++) {
        let unit = unit_of(local, each);
        for (var vector = 0u; vector < 4u; vector++) {
            if is_of_lhs(unit, each) {
                let place = a_place(unit, vector);
                (*prefetch)[each][vector] = load_a4(origins[place.x / BM].x + place.x % BM, k + place.y);
            } else {
                let place = b_place(unit - A_UNITS, vector);
                (*prefetch)[each][vector] = load_b4(origins[place.x / BN].y + place.x % BN, k + place.y);
            }
        }
    }
}

// Stores fragment (down, over) of each subgroup tile; the tile of each part begins at `piece` in its block.
fn store(down: u32, over: u32, first: u32, there: u32, piece: vec2<u32>, segment: u32, local: u32) {
    for (var quad = local; quad < RESULT_QUADS; quad += INVOCATIONS) {
        let place = result_place(quad, down, over);
        let slot = first + place.x / BM;
        if slot < there {
            let row = piece.x + place.x % BM;
            let column = piece.y + place.y;
            @if(!continued) {
                store_block4(in_output(slot, segment), row, column, result4(quad));
            }
            @if(continued) {
                store_block4(in_output(slot, segment), row, column, result4(quad) + stored_block4(slot, row, column));
            }
        }
    }
}
