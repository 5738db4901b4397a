// Scores of all blocks of op(lhs)[m, k] * op(rhs)[k, n], stored or not, tile variant: workgroup tiles of 64 x 64
// through workgroup memory, 128 invocations with micro-tiles of 8 x 4, reduced and never stored. A block of 128 takes
// four passes.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, segment_of, Tile};
import package::common::panel::{add_product, SIDE, QUADS, INVOCATIONS};
import package::score::product::{reduced, store_score};
import package::constants::BLOCK;

// Side of the area that a workgroup scores, in elements; passes of SIDE, blocks, and column groups of four along it.
const SPAN = max(SIDE, BLOCK);
const TURNS = SPAN / SIDE;
const BLOCKS = SPAN / BLOCK;
const ACROSS = SPAN / 4u;

var<workgroup> sums: array<f32, SPAN / 8u * ACROSS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = (params.n + SPAN - 1u) / SPAN;
    let index = workgroup_index(id, count);
    let i = index / across * SPAN;
    let j = index % across * SPAN;
    if i >= params.m {
        return;
    }
    let quad = local % QUADS;
    let octet = local / QUADS;

    for (var turn = 0u; turn < TURNS * TURNS; turn++) {
        let down = turn / TURNS * SIDE;
        let over = turn % TURNS * SIDE;
        var tile: Tile;
        add_product(&tile, i + down, j + over, segment_of(0u), local);
        // m and n are multiples of the block size, so a micro-tile lies entirely inside the product or contributes to
        // no block.
        let row = min(i + down + 8u * octet, params.m - 8u);
        let column = min(j + over + 4u * quad, params.n - 4u);
        sums[(down / 8u + octet) * ACROSS + over / 4u + quad] = reduced(&tile, row, column);
    }
    workgroupBarrier();

    let down = local / BLOCKS;
    let over = local % BLOCKS;
    if down < BLOCKS && i + down * BLOCK < params.m && j + over * BLOCK < params.n {
        var total = 0.0;
        for (var q = 0u; q < BLOCK / 4u; q++) {
            var sum = 0.0;
            for (var o = 0u; o < BLOCK / 8u; o++) {
                sum += sums[(down * (BLOCK / 8u) + o) * ACROSS + over * (BLOCK / 4u) + q];
            }
            total += sum;
        }
        store_score((i / BLOCK + down) * (params.n / BLOCK) + j / BLOCK + over, total);
    }
}
