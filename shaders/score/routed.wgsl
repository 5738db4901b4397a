// Scores of all blocks of S[k, m]^T * rhs[rows], stored or not, for a block-sparse S: the gradient magnitude of the
// experts' weights. A row of S counts if rows[r] is a row of rhs. Micro-tiles, reduction and grid are those of
// score/lane.wgsl.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, rows, rhs_piece, Piece, Tile, add_pieces};
import package::common::topology::{line_slot, line_place};
import package::dsd::blocks::{line_of, block_piece};
import package::score::product::{reduced, store_score};
import package::constants::BLOCK;

const QUADS = BLOCK / 4u;
const LANES = max(8u, QUADS);

var<workgroup> sums: array<f32, LANES>;

// Which of rows k..k + 3 of S have a row of rhs.
fn there(k: u32) -> vec4<bool> {
    return rows[k / 4u] < vec4<u32>(params.gathered);
}

// Fragment of rhs at the rows gathered for k..k + 3 and columns j..j + 3; zero where there is no row.
fn piece_of(k: u32, j: u32) -> Piece {
    let piece = rhs_piece(k, j);
    let takes = there(k);
    let zero = vec4<f32>();
    return Piece(
        select(zero, piece[0], takes.x),
        select(zero, piece[1], takes.y),
        select(zero, piece[2], takes.z),
        select(zero, piece[3], takes.w),
    );
}

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

    let line = line_of(i / BLOCK);
    var sum = 0.0;
    for (var octet = 0u; octet < BLOCK; octet += 8u) {
        var tile: Tile;
        for (var entry = line.begin; entry < line.end; entry++) {
            let slot = line_slot(line, entry);
            let first = line_place(line, slot) * BLOCK;
            for (var k = 0u; k < BLOCK; k += 4u) {
                if any(there(first + k)) {
                    add_pieces(
                        &tile,
                        block_piece(slot, octet, k), block_piece(slot, octet + 4u, k),
                        piece_of(first + k, j),
                    );
                }
            }
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
