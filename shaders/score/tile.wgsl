// One number per block of op(lhs)[m, k] * op(rhs)[k, n], of every block there could be, through workgroup memory: 64 x 64
// of the product a workgroup, 128 invocations of 8 x 4, whose tiles are reduced and never stored.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, Tile};
import package::common::panel::{add_product, SIDE, QUADS, INVOCATIONS};
import package::score::product::{reduced, store_score};
import package::constants::BLOCK;

const BLOCKS = SIDE / BLOCK;

var<workgroup> sums: array<f32, INVOCATIONS>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = (params.n + SIDE - 1u) / SIDE;
    let index = workgroup_index(id, count);
    let i = index / across * SIDE;
    let j = index % across * SIDE;
    if i >= params.m {
        return;
    }
    let quad = local % QUADS;
    let octet = local / QUADS;

    var tile: Tile;
    add_product(&tile, i, j, local);
    // Sides are multiples of the block, so a tile lies within the product or belongs to no block of it.
    let row = min(i + 8u * octet, params.m - 8u);
    let column = min(j + 4u * quad, params.n - 4u);
    sums[local] = reduced(&tile, row, column);
    workgroupBarrier();

    let down = local / BLOCKS;
    let right_of = local % BLOCKS;
    if down < BLOCKS && i + down * BLOCK < params.m && j + right_of * BLOCK < params.n {
        var total = 0.0;
        for (var q = 0u; q < BLOCK / 4u; q++) {
            var sum = 0.0;
            for (var o = 0u; o < BLOCK / 8u; o++) {
                sum += sums[(down * (BLOCK / 8u) + o) * QUADS + right_of * (BLOCK / 4u) + q];
            }
            total += sum;
        }
        store_score((i / BLOCK + down) * (params.n / BLOCK) + j / BLOCK + right_of, total);
    }
}
