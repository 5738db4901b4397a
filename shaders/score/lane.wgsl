// One number per block of op(lhs)[m, k] * op(rhs)[k, n], of every block there could be: each tile of the product is formed
// in registers, reduced, and never stored. Almost without workgroup memory: a workgroup is 8 invocations side by side (16
// for blocks of 64, 32 for those of 128), each with all rows of a block by 4 columns, and only their sums meet.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, rhs_piece, Tile, add_pieces};
import package::score::product::{reduced, store_score};
import package::constants::BLOCK;

const QUADS = BLOCK / 4u;
const LANES = max(8u, QUADS);

var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = (params.n + 4u * LANES - 1u) / (4u * LANES);
    let index = workgroup_index(id, count);
    let i = index / across * BLOCK;
    if i >= params.m {
        return;
    }
    // Invocations past the last column repeat it, so that all reach the barrier, and store nothing.
    let column = (index % across * LANES + lane) * 4u;
    let j = min(column, params.n - 4u);

    var sum = 0.0;
    for (var octet = 0u; octet < BLOCK; octet += 8u) {
        var tile: Tile;
        for (var k = 0u; k < params.k; k += 4u) {
            add_pieces(&tile, lhs_piece(i + octet, k), lhs_piece(i + octet + 4u, k), rhs_piece(k, j));
        }
        sum += reduced(&tile, i + octet, j);
    }
    sums[lane] = sum;
    workgroupBarrier();

    if lane % QUADS == 0u && column < params.n {
        var total = 0.0;
        for (var quad = 0u; quad < QUADS; quad++) {
            total += sums[lane + quad];
        }
        store_score(i / BLOCK * (params.n / BLOCK) + j / BLOCK, total);
    }
}
