// Workgroup tiles of the attention kernels: a workgroup owns OWNED rows of one head of one sequence (queries, or keys)
// and streams the other rows (keys, or queries) through workgroup memory, KEYS at a time.
//
// Invocations form a grid of TALL x ACROSS. Invocation (i, j) computes the scores of owned rows 4 i .. 4 i + 3 against
// streamed rows j + ACROSS * s, a micro-tile of 4 x 4, and columns 4 j .. 4 j + 3 of the results of its owned rows, and
// those 4 * ACROSS further where heads are that wide. With heads narrower than 32 some invocations compute scores
// alone.
import package::common::grid::workgroup_index;
import package::attention::layout::{params, qkv, part_at, row_at, add_dot, QUADS};

// The gradient of the output, `[tokens, width]`.
@if(backward) @group(0) @binding(6) var<storage, read> grad: array<vec4<f32>>;

const ACROSS = 8u;
const TALL = 16u;
const LANES = TALL * ACROSS;
const OWNED = 4u * TALL;
// Streamed rows of a tile. The forward pass rescales its running sums once per tile, so KEYS is part of the result's
// bits, and the same for all shapes.
const KEYS = 32u;
// Streamed rows of an invocation.
const EACH = KEYS / ACROSS;
// Vectors of columns of an invocation.
const SPAN = max(QUADS / ACROSS, 1u);

// Vectors of a head that are staged at a time for scores, and streamed rows that are staged at a time for results.
const SLICE = min(QUADS, 4u);
const DEPTH = 16u;
// Row strides, in vectors; one of padding against bank conflicts.
const PANEL_ROW = SLICE + 1u;
const WEIGHT_ROW = TALL + 1u;

// Slices of owned and streamed rows, and later the weights of streamed rows: a vector per four owned rows.
var<workgroup> panel: array<vec4<f32>, max((OWNED + KEYS) * PANEL_ROW, KEYS * WEIGHT_ROW)>;
var<workgroup> streamed: array<vec4<f32>, DEPTH * QUADS>;

// Parts of a row: of `qkv`, or the gradient of the output.
const QUERY = 0u;
const KEY = 1u;
const VALUE = 2u;
const GRAD = 3u;

// Place of an invocation in its workgroup.
struct Lane {
    index: u32,
    i: u32,
    j: u32,
}

fn lane_of(index: u32) -> Lane {
    return Lane(index, index / ACROSS, index % ACROSS);
}

// Rows of one head of one sequence: row r is row `start + r`, or `start - r` in descending order, of the sequence. Loads
// of rows outside the sequence repeat another row.
struct Span {
    // First token of the sequence.
    first: u32,
    head: u32,
    start: u32,
    descending: bool,
}

// The owned rows of a workgroup; they start at `context` in surplus workgroups of a folded grid.
fn owned_rows(id: vec3<u32>, count: vec3<u32>) -> Span {
    let tiles = (params.context + OWNED - 1u) / OWNED;
    let index = workgroup_index(id, count);
    let sequence = index / tiles / params.heads;
    let start = select(params.context, index % tiles * OWNED, sequence < params.sequences);
    return Span(sequence * params.context, index / tiles % params.heads, start, false);
}

fn token_of(rows: Span, r: u32) -> u32 {
    let row = select(rows.start + r, rows.start - min(r, rows.start), rows.descending);
    return rows.first + min(row, params.context - 1u);
}

// Vector `quad` of one part of row r.
fn load(rows: Span, r: u32, part: u32, quad: u32) -> vec4<f32> {
    let token = token_of(rows, r);
    @if(backward) {
        if part == GRAD {
            return grad[row_at(token, rows.head) + quad];
        }
    }
    return qkv[part_at(token, part, rows.head) + quad];
}

// Micro-tile: element s holds the four owned rows of an invocation against its streamed row s.
alias Tile = array<vec4<f32>, EACH>;

// Dot products of a part of the owned rows, times `scale`, with a part of the streamed rows. Contains barriers: all
// invocations of the workgroup must call it.
fn products(own: Span, own_part: u32, scale: f32, others: Span, part: u32, lane: Lane) -> Tile {
    var tile: Tile;
    for (var quad = 0u; quad < QUADS; quad += SLICE) {
        workgroupBarrier();
        for (var p = lane.index; p < (OWNED + KEYS) * SLICE; p += LANES) {
            let r = p / SLICE;
            let q = p % SLICE;
            if r < OWNED {
                // Invocations side by side read rows side by side.
                panel[(r % 4u * TALL + r / 4u) * PANEL_ROW + q] = load(own, r, own_part, quad + q) * scale;
            } else {
                panel[r * PANEL_ROW + q] = load(others, r - OWNED, part, quad + q);
            }
        }
        workgroupBarrier();
        for (var q = 0u; q < SLICE; q++) {
            var a: array<vec4<f32>, 4>;
            for (var r = 0u; r < 4u; r++) {
                a[r] = panel[(r * TALL + lane.i) * PANEL_ROW + q];
            }
            for (var s = 0u; s < EACH; s++) {
                let b = panel[(OWNED + lane.j + ACROSS * s) * PANEL_ROW + q];
                tile[s] = vec4<f32>(
                    add_dot(a[0], b, tile[s].x), add_dot(a[1], b, tile[s].y),
                    add_dot(a[2], b, tile[s].z), add_dot(a[3], b, tile[s].w),
                );
            }
        }
    }
    return tile;
}

// Columns of an invocation's owned rows.
alias Columns = array<array<vec4<f32>, SPAN>, 4>;

// columns += weights^T * a part of the streamed rows, in their order. Returns the sums of the weights of the owned
// rows. Contains barriers.
fn add_weighted(columns: ptr<function, Columns>, weights: Tile, others: Span, part: u32, lane: Lane) -> vec4<f32> {
    // The panel may still be read as slices, and the rows of an earlier call.
    workgroupBarrier();
    for (var s = 0u; s < EACH; s++) {
        panel[(lane.j + ACROSS * s) * WEIGHT_ROW + lane.i] = weights[s];
    }
    var sum: vec4<f32>;
    for (var first = 0u; first < KEYS; first += DEPTH) {
        for (var p = lane.index; p < DEPTH * QUADS; p += LANES) {
            streamed[p] = load(others, first + p / QUADS, part, p % QUADS);
        }
        workgroupBarrier();
        for (var r = 0u; r < DEPTH; r++) {
            let weight = panel[(first + r) * WEIGHT_ROW + lane.i];
            sum += weight;
            for (var c = 0u; c < SPAN; c++) {
                let x = streamed[r * QUADS + min(lane.j + ACROSS * c, QUADS - 1u)];
                for (var i = 0u; i < 4u; i++) {
                    (*columns)[i][c] = fma(vec4<f32>(weight[i]), x, (*columns)[i][c]);
                }
            }
        }
        if first + DEPTH < KEYS {
            workgroupBarrier();
        }
    }
    return sum;
}
