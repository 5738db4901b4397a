// Row tiles of the attention kernels without workgroup memory: an invocation owns ROWS consecutive rows of one head of
// one sequence, in registers.
//
// The inner loop is uniform over the workgroup, and so are its loads. CPU drivers spend most of their time on these
// loads, which several rows per invocation amortise.
import package::common::grid::workgroup_index;
import package::attention::layout::{params, qkv, part_at, add_dot, QUADS};
import package::constants::BLOCK;

const LANES = 32u;
const ROWS = clamp(64u / BLOCK, 1u, 4u);

// One scalar per owned row.
alias Each = array<f32, ROWS>;
// One head's columns of each owned row.
alias Rows = array<array<vec4<f32>, QUADS>, ROWS>;

// Rows owned by an invocation.
struct Place {
    // First token of the sequence.
    first: u32,
    head: u32,
    // First owned row within the sequence, `context` or more for an idle invocation, and the last.
    row: u32,
    last: u32,
}

fn place(id: vec3<u32>, count: vec3<u32>, lane: u32) -> Place {
    let tiles = (params.context + ROWS * LANES - 1u) / (ROWS * LANES);
    let index = workgroup_index(id, count);
    let sequence = index / tiles / params.heads;
    // A folded grid may hold a few surplus workgroups.
    let row = select(params.context, (index % tiles * LANES + lane) * ROWS, sequence < params.sequences);
    return Place(
        sequence * params.context, index / tiles % params.heads, row, min(row + ROWS, params.context) - 1u,
    );
}

// Row r of an invocation. Rows past the context repeat the last one and store the same results.
fn row_of(here: Place, r: u32) -> u32 {
    return min(here.row + r, here.last);
}

// Loads one part (query, key or value) of each owned row.
fn load(rows: ptr<function, Rows>, here: Place, part: u32) {
    for (var r = 0u; r < ROWS; r++) {
        let at = part_at(here.first + row_of(here, r), part, here.head);
        for (var c = 0u; c < QUADS; c++) {
            (*rows)[r][c] = qkv[at + c];
        }
    }
}

fn scale(rows: ptr<function, Rows>) {
    for (var r = 0u; r < ROWS; r++) {
        for (var c = 0u; c < QUADS; c++) {
            (*rows)[r][c] *= params.scale;
        }
    }
}

// Dot products of the owned rows with the vector at offset `at` of `qkv`.
fn products(rows: ptr<function, Rows>, at: u32) -> Each {
    var sums: Each;
    for (var c = 0u; c < QUADS; c++) {
        let x = qkv[at + c];
        for (var r = 0u; r < ROWS; r++) {
            sums[r] = add_dot((*rows)[r][c], x, sums[r]);
        }
    }
    return sums;
}

// rows[r] += factors[r] * the vector at offset `at` of `qkv`.
fn add(rows: ptr<function, Rows>, factors: ptr<function, Each>, at: u32) {
    for (var c = 0u; c < QUADS; c++) {
        let x = qkv[at + c];
        for (var r = 0u; r < ROWS; r++) {
            (*rows)[r][c] = fma(vec4<f32>((*factors)[r]), x, (*rows)[r][c]);
        }
    }
}
