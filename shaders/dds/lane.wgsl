// DDS, lane variant: product[m, n] = op(lhs) * op(S) for block-sparse S, without workgroup memory.
//
// A workgroup tile is 128 x 8: 32 invocations of 4 rows by 8 columns. The columns lie in one block column, therefore
// the block walk and all loads of S are uniform over the workgroup for every block size. (Columns spread over the
// lanes leave half of an eight-wide processor idle at blocks of 16: docs/rejected.md.)
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs_piece, Tile, add_pieces};
import package::common::topology::{line_slot, line_place};
import package::dds::blocks::{line_of, block_piece};
@if(window)
import package::dds::blocks::is_bound;
import package::common::column_major::store_column_major;
@if(continued)
import package::common::column_major::load_column_major;
import package::constants::BLOCK;

const LANES = 32u;

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = params.n / 8u;
    let index = workgroup_index(id, count);
    let i = (index / across * LANES + lane) * 4u;
    let j = index % across * 8u;
    if i >= params.m {
        return;
    }

    var tile: Tile;
    @if(continued) {
        tile = load_column_major(i, j);
    }
    let line = line_of(j / BLOCK);
    let within = j % BLOCK;
    for (var entry = line.begin; entry < line.end; entry++) {
        let slot = line_slot(line, entry);
        @if(window) {
            if !is_bound(slot) {
                continue;
            }
        }
        let first = line_place(line, slot) * BLOCK;
        for (var k = 0u; k < BLOCK; k += 4u) {
            add_pieces(
                &tile,
                block_piece(slot, k, within), block_piece(slot, k, within + 4u),
                lhs_piece(i, first + k),
            );
        }
    }

    store_column_major(i, j, tile);
}
