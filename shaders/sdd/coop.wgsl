// SDD, cooperative-matrix variant: the blocks of op(lhs)[m, k] * op(rhs)[k, n] that the topology stores; see
// common/coop.wgsl. A workgroup tile is one block, or a BM x BN part of a large one.
import package::common::matmul::params;
import package::common::coop::{
    INVOCATIONS, RESULT_QUADS, APrefetch, BPrefetch, Accumulator, ROWS, COLUMNS,
    subtile_of, stage, multiply, store_accumulators, result_place, result4,
    fetch,
};
import package::common::topology::{topology, NNZ, slot_row, slot_col};
import package::sdd::blocks::{in_topology, store_block4};
@if(continued)
import package::sdd::blocks::stored_block4;
import package::constants::{BLOCK, BM, BN, BK};

const PIECES = BLOCK / BM;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_size) size: u32,
) {
    // Inlines `workgroup_index`, because naga treats function results as non-uniform.
    let index = id.y * count.x + id.x;
    // Inlines `slots` of sdd/blocks.wgsl, for the same reason.
    @if(!window)
    let there = topology[NNZ];
    @if(window)
    let there = min(params.slots, topology[NNZ] - min(topology[NNZ], params.first_slot));
    let slot = index / (PIECES * PIECES);
    if slot >= there {
        return;
    }
    let down = index / PIECES % PIECES * BM;
    let over = index % PIECES * BN;
    let i = slot_row(in_topology(slot)) * BLOCK + down;
    let j = slot_col(in_topology(slot)) * BLOCK + over;
    let subtile = subtile_of(local, size);
    var c00 = Accumulator();
    var c01 = Accumulator();
    var c10 = Accumulator();
    var c11 = Accumulator();
    var a_prefetch: APrefetch;
    var b_prefetch: BPrefetch;
    fetch(i, j, 0u, local, &a_prefetch, &b_prefetch);
    for (var k = 0u; k < params.k; k += BK) {
        stage(&a_prefetch, &b_prefetch, local);
        workgroupBarrier();
        if k + BK < params.k {
            fetch(i, j, k + BK, local, &a_prefetch, &b_prefetch);
        }
        multiply(subtile, &c00, &c01, &c10, &c11);
        workgroupBarrier();
    }

    // Fragments go through workgroup memory to the store, one of each subgroup tile at a time.
    for (var row = 0u; row < ROWS; row++) {
        for (var column = 0u; column < COLUMNS; column++) {
            store_accumulators(subtile, row, column, &c00, &c01, &c10, &c11);
            workgroupBarrier();
            store(row, column, slot, vec2<u32>(down, over), local);
            workgroupBarrier();
        }
    }
}

// Stores fragment (down, over) of each subgroup tile; the workgroup tile begins at `first` in its block.
fn store(down: u32, over: u32, slot: u32, first: vec2<u32>, local: u32) {
    for (var quad = local; quad < RESULT_QUADS; quad += INVOCATIONS) {
        let place = first + result_place(quad, down, over);
        @if(!continued) {
            store_block4(slot, place.x, place.y, result4(quad));
        }
        @if(continued) {
            store_block4(slot, place.x, place.y, result4(quad) + stored_block4(slot, place.x, place.y));
        }
    }
}
