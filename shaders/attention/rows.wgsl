// Row tiles of the attention kernels: qkv[tokens, 3 * width] holds the queries, keys and values of all heads side by
// side, BLOCK columns per head.
//
// An invocation owns ROWS consecutive rows of one head of one sequence, in registers. The inner loop is uniform over
// the workgroup, and so are its loads. CPU drivers spend most of their time on these loads, which several rows per
// invocation amortise; GPUs are short of registers first.
import package::common::grid::workgroup_index;
import package::constants::BLOCK;

struct Params {
    sequences: u32,
    context: u32,
    heads: u32,
    // 1 / sqrt(BLOCK), the factor of all query-key products.
    scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

const LANES = 32u;
const QUADS = BLOCK / 4u;
@if(several) const ROWS = clamp(64u / BLOCK, 1u, 4u);
@if(!several) const ROWS = 1u;

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

// Offset in `qkv` of a token's query (part 0), key (1) or value (2).
fn part_at(token: u32, part: u32, head: u32) -> u32 {
    return ((token * 3u + part) * params.heads + head) * QUADS;
}

// Offset of a head's columns in a `[tokens, width]` matrix.
fn row_at(token: u32, head: u32) -> u32 {
    return (token * params.heads + head) * QUADS;
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

fn total(sum: vec4<f32>) -> f32 {
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// Dot products of the owned rows with the vector at offset `at` of `qkv`.
fn products(rows: ptr<function, Rows>, at: u32) -> Each {
    var sums: array<vec4<f32>, ROWS>;
    for (var c = 0u; c < QUADS; c++) {
        let x = qkv[at + c];
        for (var r = 0u; r < ROWS; r++) {
            sums[r] = fma((*rows)[r][c], x, sums[r]);
        }
    }
    var each: Each;
    for (var r = 0u; r < ROWS; r++) {
        each[r] = total(sums[r]);
    }
    return each;
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
