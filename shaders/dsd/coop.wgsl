// DSD, cooperative-matrix variant: product[m, n] = op(S) * op(rhs) for block-sparse S; see common/coop.wgsl. A
// workgroup tile lies within one block row.
import package::common::matmul::{params, lhs_stored4};
import package::common::coop::{
    INVOCATIONS, RESULT_QUADS, A_UNITS, LOADS, Prefetch, subtile_of, unit_of, is_of_lhs, a_place, b_place, load_b4, stage,
    multiply, store_accumulators, result_place, result4,
};
import package::common::topology::{Line, line_slot, line_place};
import package::dsd::blocks::line_of;
import package::common::epilogue::store4;
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
    let across = (params.n + BN - 1u) / BN;
    let i = index / across * BM;
    let j = index % across * BN;
    if i >= params.m {
        return;
    }
    let subtile = subtile_of(local, size);
    var prefetch: Prefetch;
    let line = line_of(i / BLOCK);
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
        store4(place.x, place.y, result4(quad), vec4<f32>());
    }
}

// Prefetches one K step: BK contraction indices of one block.
fn fetch_step(line: Line, step: u32, i: u32, j: u32, local: u32, prefetch: ptr<function, Prefetch>) {
    let slot = line_slot(line, line.begin + step / (BLOCK / BK));
    let within = step % (BLOCK / BK) * BK;
    let first = line_place(line, slot) * BLOCK;
    for (var each = 0u; each < LOADS; each++) {
        let unit = unit_of(local, each);
        for (var vector = 0u; vector < 4u; vector++) {
            if is_of_lhs(unit, each) {
                let place = a_place(unit, vector);
                (*prefetch)[each][vector] = block4(slot, i % BLOCK + place.x, within + place.y);
            } else {
                let place = b_place(unit - A_UNITS, vector);
                (*prefetch)[each][vector] = load_b4(j + place.x, first + within + place.y);
            }
        }
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
