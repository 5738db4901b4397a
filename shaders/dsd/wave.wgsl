// DSD, subgroups of eight: product[m, n] = op(S) * op(rhs) for block-sparse S, without workgroup memory. A workgroup
// tile is 16 x 32 (8 x 32 for blocks of 8) in one block row; each lane computes four columns. All lanes need the same
// rows of S: each loads an eighth and broadcasts it.
import package::common::grid::{workgroup_index, round_robin};
import package::common::matmul::{params, Tile, add_pieces};
import package::common::wave::shared_rhs_piece;
import package::common::topology::{line_slot, line_place};
import package::dsd::blocks::{line_of, block_octet};
import package::common::epilogue::store4;
import package::constants::BLOCK;

const LANES = 8u;
const BM = min(BLOCK, 16u);

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = (params.n + 4u * LANES - 1u) / (4u * LANES);
    let index = workgroup_index(id, count);
    let i = round_robin(index / across, params.m / BM, params.threads) * BM;
    // Lanes past the last column continue, because the subgroup broadcasts need all eight.
    let j = (index % across * LANES + lane) * 4u;
    if index / across >= params.m / BM {
        return;
    }

    // Rows 0..7 and 8..15.
    var tile: Tile;
    var more: Tile;
    let line = line_of(i / BLOCK);
    let within = i % BLOCK;
    for (var entry = line.begin; entry < line.end; entry++) {
        let slot = line_slot(line, entry);
        let first = line_place(line, slot) * BLOCK;
        for (var k = 0u; k < BLOCK; k += 4u) {
            let columns = shared_rhs_piece(first + k, j, lane);
            let rows = block_octet(slot, within, k, lane);
            add_pieces(&tile, rows[0], rows[1], columns);
            if BM > 8u {
                let others = block_octet(slot, within + 8u, k, lane);
                add_pieces(&more, others[0], others[1], columns);
            }
        }
    }

    for (var row = 0u; row < 8u; row++) {
        store4(i + row, j, tile[row], vec4<f32>());
        if BM > 8u {
            store4(i + 8u + row, j, more[row], vec4<f32>());
        }
    }
}
