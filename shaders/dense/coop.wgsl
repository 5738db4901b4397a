// Dense matmul, cooperative-matrix variant: see common/coop.wgsl.
import package::common::matmul::params;
import package::common::coop::{
    INVOCATIONS, RESULT_QUADS, LeftAhead, RightAhead, Sum, ROWS, COLUMNS,
    part_of, fill, multiply, show, result_place, result4,
    fetch,
};
import package::common::epilogue::{store4, bias4};
@if(continued)
import package::common::epilogue::stored4;
import package::constants::{TALL, WIDE, DEPTH};

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_size) size: u32,
) {
    // Inlines `workgroup_index`, because naga treats function results as non-uniform.
    let index = id.y * count.x + id.x;
    let across = (params.n + WIDE - 1u) / WIDE;
    let i = index / across * TALL;
    let j = index % across * WIDE;
    if i >= params.m {
        return;
    }
    let part = part_of(local, size);
    var c00 = Sum();
    var c01 = Sum();
    var c10 = Sum();
    var c11 = Sum();
    var near: LeftAhead;
    var far: RightAhead;
    fetch(i, j, 0u, local, &near, &far);
    for (var k = 0u; k < params.k; k += DEPTH) {
        fill(&near, &far, local);
        workgroupBarrier();
        if k + DEPTH < params.k {
            fetch(i, j, k + DEPTH, local, &near, &far);
        }
        multiply(part, &c00, &c01, &c10, &c11);
        workgroupBarrier();
    }

    // Fragments go through workgroup memory to the epilogue, one of each subgroup tile at a time.
    for (var row = 0u; row < ROWS; row++) {
        for (var column = 0u; column < COLUMNS; column++) {
            show(part, row, column, &c00, &c01, &c10, &c11);
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
