// Scores of all blocks of op(lhs)[m, k] * op(rhs)[k, n], stored or not, subgroups of eight without workgroup memory.
// A lane computes TM rows by 4 columns at a time, down a block and across its width; a workgroup covers BM rows,
// because products with a short contraction finish early. All lanes need the same rows: each loads an eighth and
// broadcasts it. Micro-tiles are reduced and never stored.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, rhs_piece, Tile, add_pieces};
import package::common::wave::{lhs_lane, lhs_octet_of};
import package::score::product::{reduced, store_score};
import package::constants::BLOCK;

const LANES = 8u;
const TM = min(BLOCK, 16u);
const BN = max(BLOCK, 4u * LANES);
// Rows of a workgroup.
const BM = max(BLOCK, 64u);

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = (params.n + BN - 1u) / BN;
    let index = workgroup_index(id, count);
    let top = index / across * BM;
    let first = index % across * BN;
    for (var i = top; i < min(top + BM, params.m); i += BLOCK) {
        let total = total_of(i, first, lane);
        let quad = lane % min(BLOCK / 4u, LANES);
        let column = first + 4u * lane;
        if quad == 0u && column < params.n {
            store_score(i / BLOCK * (params.n / BLOCK) + column / BLOCK, total);
        }
    }
}

// Score of the block at row i that contains this lane's columns, counted from column `first`.
fn total_of(i: u32, first: u32, lane: u32) -> f32 {
    var total = 0.0;
    for (var column = first; column < first + BN; column += 4u * LANES) {
        // Lanes past the last column repeat it, because the subgroup broadcasts need all eight; they store nothing.
        let j = min(column + 4u * lane, params.n - 4u);
        var sum = 0.0;
        for (var row = i; row < i + BLOCK; row += TM) {
            // Rows 0..7 and 8..15.
            var tile: Tile;
            var more: Tile;
            let begin = vec2<u32>(lhs_lane(row, lane), lhs_lane(row + 8u, lane));
            for (var k = 0u; k < params.k; k += 4u) {
                let columns = rhs_piece(k, j);
                let rows = lhs_octet_of(begin.x, k, lane);
                add_pieces(&tile, rows[0], rows[1], columns);
                if TM > 8u {
                    let others = lhs_octet_of(begin.y, k, lane);
                    add_pieces(&more, others[0], others[1], columns);
                }
            }
            sum += reduced(&tile, row, j);
            if TM > 8u {
                sum += reduced(&more, row + 8u, j);
            }
        }
        total = with_neighbours(total, sum);
    }
    return total;
}

// Adds the partial sums of a block's lanes to its total, from left to right.
fn with_neighbours(total: f32, sum: f32) -> f32 {
    if BLOCK == 8u {
        return sum + quadSwapX(sum);
    }
    if BLOCK == 16u {
        let sum_01 = quadBroadcast(sum, 0u) + quadBroadcast(sum, 1u);
        return sum_01 + quadBroadcast(sum, 2u) + quadBroadcast(sum, 3u);
    }
    let sum_01 = total + subgroupBroadcast(sum, 0u) + subgroupBroadcast(sum, 1u);
    let sum_03 = sum_01 + subgroupBroadcast(sum, 2u) + subgroupBroadcast(sum, 3u);
    let sum_05 = sum_03 + subgroupBroadcast(sum, 4u) + subgroupBroadcast(sum, 5u);
    return sum_05 + subgroupBroadcast(sum, 6u) + subgroupBroadcast(sum, 7u);
}
