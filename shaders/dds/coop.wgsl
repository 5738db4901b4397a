// DDS, cooperative-matrix variant: product[m, n] = op(lhs) * op(S) for block-sparse S; see common/coop.wgsl. A
// workgroup tile lies within one block column.
import package::common::matmul::{params, rhs_stored4};
import package::common::coop::{
    INVOCATIONS, RESULT_QUADS, A_UNITS, LOADS, Prefetch, subtile_of, unit_of, is_of_lhs, a_place, b_place, load_a4, stage,
    multiply, store_accumulators, result_place, result4,
};
import package::common::topology::{Line, line_slot, line_place};
import package::dds::blocks::{line_of, first_row};
@if(window)
import package::dds::blocks::is_bound;
import package::common::epilogue::{store4, bias4};
@if(continued)
import package::common::epilogue::stored4;
import package::constants::{BLOCK, BM, BN, BK, ROWS, COLUMNS};

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_size) size: u32,
) {
    // Inlines `workgroup_index`, because naga treats function results as non-uniform.
    let index = id.y * count.x + id.x;
    let across = params.n / BN;
    let i = index / across * BM;
    let j = index % across * BN;
    if i >= params.m {
        return;
    }
    let subtile = subtile_of(local, size);
    var prefetch: Prefetch;
    let line = line_of(j / BLOCK);
    let steps = (line.end - line.begin) * (BLOCK / BK);
    if steps > 0u {
        fetch_step(line, 0u, i, j, local, &prefetch);
    }
    for (var step = 0u; step < steps; step++) {
        stage(&prefetch, local);
        workgroupBarrier();
        if step + 1u < steps {
            fetch_step(line, step + 1u, i, j, local, &prefetch);
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

// Prefetches one K step: BK contraction indices of one block. Blocks outside the bound window are prefetched as
// zeros.
fn fetch_step(line: Line, step: u32, i: u32, j: u32, local: u32, prefetch: ptr<function, Prefetch>) {
    let slot = line_slot(line, line.begin + step / (BLOCK / BK));
    let within = step % (BLOCK / BK) * BK;
    let first = line_place(line, slot) * BLOCK;
    var there = true;
    @if(window) {
        there = is_bound(slot);
    }
    for (var each = 0u; each < LOADS; each++) {
        let unit = unit_of(local, each);
        for (var vector = 0u; vector < 4u; vector++) {
            var four = vec4<f16>();
            if is_of_lhs(unit, each) {
                let place = a_place(unit, vector);
                if there {
                    four = load_a4(i + place.x, first + within + place.y);
                }
            } else {
                let place = b_place(unit - A_UNITS, vector);
                if there {
                    four = block4(slot, within + place.y, j % BLOCK + place.x);
                }
            }
            (*prefetch)[each][vector] = four;
        }
    }
}

// Four consecutive stored elements of a block of op(S), from contraction index k and column j on.
fn block4(slot: u32, k: u32, j: u32) -> vec4<f16> {
    @if(!rhs_t) {
        return rhs_stored4((first_row(slot) + k) * BLOCK + j);
    }
    @if(rhs_t) {
        return rhs_stored4((first_row(slot) + j) * BLOCK + k);
    }
}
