// DSS: product[m, n] = S[m, k] * W[k, n], both block-sparse. Micro-tiles of 8 x 4; a workgroup tile is one block of
// the product, several small blocks up to 8 invocations, or a quarter of a block of 128.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, lhs4, Piece, Tile, add_pieces};
import package::common::topology::{Line, row_line, line_slot, line_place};
import package::common::weight::{weight_col_line, weight_slot, weight_place};
import package::common::pieces::{CUTS, QUADS, OCTETS, first_of};
import package::common::epilogue::store4;
import package::dds::blocks::block_piece;
import package::constants::BLOCK;

const BLOCKS = max(1u, 8u / (QUADS * OCTETS));

// Fragment of a block of S at rows i..i + 3 and contraction indices k..k + 3.
fn lhs_block_piece(slot: u32, i: u32, k: u32) -> Piece {
    let at = (slot * BLOCK + i) * BLOCK + k;
    return transpose(Piece(lhs4(at), lhs4(at + BLOCK), lhs4(at + 2u * BLOCK), lhs4(at + 3u * BLOCK)));
}

// Binary search: first entry of a column of W at block row `place` or below.
fn first_entry(column: Line, place: u32) -> u32 {
    var low = column.begin;
    var high = column.end;
    while low < high {
        let middle = (low + high) / 2u;
        if weight_place(column, weight_slot(column, middle)) < place {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

@compute @workgroup_size(QUADS, OCTETS, BLOCKS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let across = params.n / BLOCK;
    let index = workgroup_index(id, count);
    let block = index / (CUTS * CUTS) * BLOCKS + local.z;
    let row = block / across;
    if row * BLOCK >= params.m {
        return;
    }
    let column = block % across;
    let within = first_of(index) + vec2<u32>(8u * local.y, 4u * local.x);

    var tile: Tile;
    let lhs_line = row_line(row);
    let rhs_line = weight_col_line(column);
    // Intersection of a block row of S with a block column of W. The column is walked; each of its blocks is looked
    // up in the row at the position it has if no block is missing in between, then backwards from there.
    var begin = lhs_line.begin;
    if lhs_line.begin < lhs_line.end {
        let last = line_place(lhs_line, line_slot(lhs_line, lhs_line.end - 1u));
        var place = line_place(lhs_line, line_slot(lhs_line, lhs_line.begin));
        for (var entry = first_entry(rhs_line, place); entry < rhs_line.end; entry++) {
            let rhs_slot = weight_slot(rhs_line, entry);
            let wanted = weight_place(rhs_line, rhs_slot);
            if wanted > last {
                break;
            }
            var at = min(begin + (wanted - place), lhs_line.end - 1u);
            var slot = line_slot(lhs_line, at);
            var found = line_place(lhs_line, slot);
            while found > wanted && at > begin {
                at--;
                slot = line_slot(lhs_line, at);
                found = line_place(lhs_line, slot);
            }
            if found != wanted {
                continue;
            }
            begin = at;
            place = found;
            for (var k = 0u; k < BLOCK; k += 4u) {
                add_pieces(
                    &tile,
                    lhs_block_piece(slot, within.x, k), lhs_block_piece(slot, within.x + 4u, k),
                    block_piece(rhs_slot, k, within.y),
                );
            }
        }
    }

    for (var r = 0u; r < 8u; r++) {
        store4(row * BLOCK + within.x + r, column * BLOCK + within.y, tile[r], vec4<f32>());
    }
}
