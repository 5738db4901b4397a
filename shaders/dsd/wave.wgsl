// product[m, n] = op(S) * op(rhs), S block-sparse, without workgroup memory, where eight invocations run as one subgroup: side
// by side, each with 16 rows of one row of blocks by 4 columns, or 8 in blocks of 8. The rows of S are the same for all of
// them, so each loads an eighth, and hands it round.
import package::common::grid::{workgroup_index, dealt};
import package::common::matmul::{params, Tile, add_pieces};
import package::common::wave::shared_rhs_piece;
import package::common::topology::{line_slot, line_place};
import package::dsd::blocks::{line_of, block_octet};
import package::common::epilogue::store4;
import package::constants::BLOCK;

const LANES = 8u;
const TALL = min(BLOCK, 16u);

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let across = (params.n + 4u * LANES - 1u) / (4u * LANES);
    let index = workgroup_index(id, count);
    let i = dealt(index / across, params.m / TALL, params.threads) * TALL;
    // Invocations past the last column stay, since their subgroup needs them.
    let j = (index % across * LANES + lane) * 4u;
    if index / across >= params.m / TALL {
        return;
    }

    // Eight rows, and eight more.
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
            if TALL > 8u {
                let others = block_octet(slot, within + 8u, k, lane);
                add_pieces(&more, others[0], others[1], columns);
            }
        }
    }

    for (var row = 0u; row < 8u; row++) {
        store4(i + row, j, tile[row], vec4<f32>());
        if TALL > 8u {
            store4(i + 8u + row, j, more[row], vec4<f32>());
        }
    }
}
