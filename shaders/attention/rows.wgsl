// What the attention kernels share: qkv[tokens, 3 * width] holds the queries, keys and values of all heads side by
// side, BLOCK columns a head.
//
// An invocation owns one row of one head of one sequence and keeps it in registers. What it walks over is the same for
// its whole workgroup, so every load in a loop is uniform.
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

// One head's part of a token's row.
alias Row = array<vec4<f32>, QUADS>;

// Where an invocation is at work. `row` is past the context where there is nothing to do.
struct Place {
    // The first token of the sequence.
    first: u32,
    head: u32,
    row: u32,
}

fn place(id: vec3<u32>, count: vec3<u32>, lane: u32) -> Place {
    let tiles = (params.context + LANES - 1u) / LANES;
    let index = workgroup_index(id, count);
    let sequence = index / tiles / params.heads;
    // A folded grid may have a few workgroups too many.
    let row = select(params.context, index % tiles * LANES + lane, sequence < params.sequences);
    return Place(sequence * params.context, index / tiles % params.heads, row);
}

// Where the queries, the keys (part 1) and the values (part 2) of a token stand in `qkv`.
fn part_at(token: u32, part: u32, head: u32) -> u32 {
    return ((token * 3u + part) * params.heads + head) * QUADS;
}

// Where a head's part of a row stands in a matrix of the width of all heads.
fn row_at(token: u32, head: u32) -> u32 {
    return (token * params.heads + head) * QUADS;
}

fn load(at: u32) -> Row {
    var row: Row;
    for (var c = 0u; c < QUADS; c++) {
        row[c] = qkv[at + c];
    }
    return row;
}

fn scaled(row: Row) -> Row {
    var result = row;
    for (var c = 0u; c < QUADS; c++) {
        result[c] *= params.scale;
    }
    return result;
}

fn total(sum: vec4<f32>) -> f32 {
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// The inner product of a row and what stands at `at` in `qkv`.
fn product(row: ptr<function, Row>, at: u32) -> f32 {
    var sum = vec4<f32>();
    for (var c = 0u; c < QUADS; c++) {
        sum = fma((*row)[c], qkv[at + c], sum);
    }
    return total(sum);
}

// row += factor * what stands at `at` in `qkv`.
fn add(row: ptr<function, Row>, factor: f32, at: u32) {
    for (var c = 0u; c < QUADS; c++) {
        (*row)[c] = fma(vec4<f32>(factor), qkv[at + c], (*row)[c]);
    }
}
