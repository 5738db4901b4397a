// DSD, lane variant: product[m, n] = op(S) * op(rhs) for block-sparse S, without workgroup memory. A workgroup tile
// is 8 x 128: 32 invocations with micro-tiles of 8 x 4, in one block row.
import package::common::grid::{workgroup_index, round_robin};
import package::common::matmul::{params, rhs_piece, Tile, add_pieces};
import package::common::topology::{line_slot, line_place};
import package::dsd::blocks::{line_of, block_piece};
import package::common::epilogue::store4;
import package::constants::BLOCK;

const LANES = 32u;

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = (params.n + 4u * LANES - 1u) / (4u * LANES);
    let index = workgroup_index(id, count);
    let i = round_robin(index / across, params.m / 8u, params.threads) * 8u;
    let j = (index % across * LANES + lane) * 4u;
    if index / across >= params.m / 8u || j >= params.n {
        return;
    }

    var tile: Tile;
    let line = line_of(i / BLOCK);
    let within = i % BLOCK;
    for (var entry = line.begin; entry < line.end; entry++) {
        let slot = line_slot(line, entry);
        let first = line_place(line, slot) * BLOCK;
        for (var k = 0u; k < BLOCK; k += 4u) {
            add_pieces(
                &tile,
                block_piece(slot, within, k), block_piece(slot, within + 4u, k),
                rhs_piece(first + k, j),
            );
        }
    }

    for (var row = 0u; row < 8u; row++) {
        store4(i + row, j, tile[row], vec4<f32>());
    }
}
