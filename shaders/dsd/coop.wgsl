// DSD, cooperative-matrix variant: product[m, n] = op(S) * op(rhs) for block-sparse S; see common/coop.wgsl. A
// workgroup tile lies within one block row, BM = min(BLOCK, limit) tall.
import package::common::matmul::{params, lhs_stored4};
import package::common::coop::{
    INVOCATIONS, RESULT_QUADS, LeftAhead, RightAhead, Sum, ROWS, COLUMNS,
    part_of, fill, multiply, show, result_place, result4,
    LEFT_EACH, RIGHT_EACH, left_quad, right_quad, left_place, right_place, right4,
};
import package::common::topology::{Line, line_slot, line_place};
import package::dsd::blocks::line_of;
import package::common::epilogue::store4;
import package::constants::{BLOCK, TALL, WIDE, DEPTH};

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
    let line = line_of(i / BLOCK);
    let steps = (line.end - line.begin) * (BLOCK / DEPTH);
    if steps > 0u {
        fetch_step(line, 0u, i, j, local, &near, &far);
    }
    for (var step = 0u; step < steps; step++) {
        fill(&near, &far, local);
        workgroupBarrier();
        if step + 1u < steps {
            fetch_step(line, step + 1u, i, j, local, &near, &far);
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
        store4(place.x, place.y, result4(quad), vec4<f32>());
    }
}

// Prefetches one K step: BK contraction indices of one block.
fn fetch_step(
    line: Line, step: u32, i: u32, j: u32, local: u32, near: ptr<function, LeftAhead>, far: ptr<function, RightAhead>,
) {
    let slot = line_slot(line, line.begin + step / (BLOCK / DEPTH));
    let within = step % (BLOCK / DEPTH) * DEPTH;
    let first = line_place(line, slot) * BLOCK;
    for (var each = 0u; each < LEFT_EACH; each++) {
        let place = left_place(left_quad(local, each));
        (*near)[each] = block4(slot, i % BLOCK + place.x, within + place.y);
    }
    for (var each = 0u; each < RIGHT_EACH; each++) {
        let place = right_place(right_quad(local, each));
        (*far)[each] = right4(j + place.x, first + within + place.y);
    }
}

// Four consecutive stored elements of a block of op(S), from row i and contraction index k on.
fn block4(slot: u32, i: u32, k: u32) -> vec4<f16> {
    @if(!lhs_t) {
        return lhs_stored4((slot * BLOCK + i) * BLOCK + k);
    }
    @if(lhs_t) {
        return lhs_stored4((slot * BLOCK + k) * BLOCK + i);
    }
}
