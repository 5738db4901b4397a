// Scores of all blocks of op(lhs)[m, k] * op(rhs)[k, n], stored or not, lane variant. Micro-tiles are formed in
// registers, reduced to one number per block and never stored. A workgroup is 8 invocations side by side (16 for
// blocks of 64, 32 for 128), each with the BLOCK rows of one block by 4 columns; workgroup memory holds only their
// partial sums.
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
    // Invocations past the last column repeat it, because every invocation must reach the barrier; they store
    // nothing.
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
