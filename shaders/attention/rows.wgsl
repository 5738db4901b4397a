// What the attention kernels share: qkv[tokens, 3 * width] holds the queries, keys and values of all heads side by
// side, BLOCK columns a head.
//
// An invocation owns ROWS neighbouring rows of one head of one sequence and keeps them in registers. What it walks over is
// the same for its whole workgroup, so every load in a loop is uniform. Drivers that run on the CPU spend most of their
// time on these loads, so there several rows share them; GPUs are short of registers first.
import package::common::grid::workgroup_index;
import package::constants::BLOCK;

struct Params {
    sequences: u32,
    context: u32,
    heads: u32,
    // 1 / sqrt(BLOCK), what products of queries and keys are multiplied by.
    scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> params: Params;

const LANES = 32u;
const QUADS = BLOCK / 4u;
@if(several) const ROWS = clamp(64u / BLOCK, 1u, 4u);
@if(!several) const ROWS = 1u;

// A number for each row.
alias Each = array<f32, ROWS>;
// One head's columns of each row.
alias Rows = array<array<vec4<f32>, QUADS>, ROWS>;

// Where an invocation is at work.
struct Place {
    // The first token of the sequence.
    first: u32,
    head: u32,
    // Its first row, past the context where there is nothing to do, and its last.
    row: u32,
    last: u32,
}

fn place(id: vec3<u32>, count: vec3<u32>, lane: u32) -> Place {
    let tiles = (params.context + ROWS * LANES - 1u) / (ROWS * LANES);
    let index = workgroup_index(id, count);
    let sequence = index / tiles / params.heads;
    // A folded grid may have a few workgroups too many.
    let row = select(params.context, (index % tiles * LANES + lane) * ROWS, sequence < params.sequences);
    return Place(
        sequence * params.context, index / tiles % params.heads, row, min(row + ROWS, params.context) - 1u,
    );
}

// One of its rows. Those past the context are the last one again: they compute and store what it does.
fn row_of(here: Place, r: u32) -> u32 {
    return min(here.row + r, here.last);
}

// Where the queries, the keys (part 1) and the values (part 2) of a token stand in `qkv`.
fn part_at(token: u32, part: u32, head: u32) -> u32 {
    return ((token * 3u + part) * params.heads + head) * QUADS;
}

// Where a head's part of a row stands in a matrix of the width of all heads.
fn row_at(token: u32, head: u32) -> u32 {
    return (token * params.heads + head) * QUADS;
}

// A part of each row.
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

// The inner products of the rows and what stands at `at` in `qkv`.
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

// Adds to each row its factor times what stands at `at` in `qkv`.
fn add(rows: ptr<function, Rows>, factors: ptr<function, Each>, at: u32) {
    for (var c = 0u; c < QUADS; c++) {
        let x = qkv[at + c];
        for (var r = 0u; r < ROWS; r++) {
            (*rows)[r][c] = fma(vec4<f32>((*factors)[r]), x, (*rows)[r][c]);
        }
    }
}
