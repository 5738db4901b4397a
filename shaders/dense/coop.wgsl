// Dense matmul, cooperative-matrix variant: see common/coop.wgsl.
import package::common::matmul::params;
import package::common::coop::{
    INVOCATIONS, RESULT_QUADS, Prefetch, subtile_of, fetch, stage, multiply, store_accumulators, result_place, result4,
};
import package::common::epilogue::{store4, bias4};
@if(split)
import package::common::epilogue::partial_row;
@if(continued)
import package::common::epilogue::stored4;
import package::constants::{BM, BN, BK, ROWS, COLUMNS};

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
    let across = (params.n + BN - 1u) / BN;
    let i = index / across * BM;
    let j = index % across * BN;
    if i >= params.m {
        return;
    }
    @if(split) {
        partial_row = all / params.workgroups * params.m;
    }
    let subtile = subtile_of(local, size);
    var prefetch: Prefetch;
    fetch(i, j, begin, local, &prefetch);
    for (var k = begin; k < end; k += BK) {
        stage(&prefetch, local);
        workgroupBarrier();
        if k + BK < end {
            fetch(i, j, k + BK, local, &prefetch);
        }
        multiply(subtile);
        workgroupBarrier();
    }

    // Fragments go through workgroup memory to the epilogue, one of each subgroup tile at a time.
    for (var row = 0u; row < ROWS; row++) {
        for (var column = 0u; column < COLUMNS; column++) {
            store_accumulators(subtile, row, column);
            workgroupBarrier();
            store(row, column, i, j, local);
            workgroupBarrier();
        }
    }
}

// Applies the epilogue to fragment (down, over) of each subgroup tile.
fn store(down: u32, over: u32, i: u32, j: u32, local: u32) {
    for (var quad = local; quad < RESULT_QUADS; quad += INVOCATIONS) {
        let place = vec2<u32>(i, j) + result_place(quad, down, over);
        @if(!continued) {
            store4(place.x, place.y, result4(quad), bias4(place.y));
        }
        @if(continued) {
            store4(place.x, place.y, result4(quad) + stored4(place.x, place.y), bias4(place.y));
        }
    }
}
