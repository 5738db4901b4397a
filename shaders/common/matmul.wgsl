// Operand loads and micro-tiles of the matmul families: product[m, n] = op(lhs)[m, k] * op(rhs)[k, n].
//
// Every f32 variant accumulates each element in ascending k with one fused multiply-add per step, in micro-tiles of 8
// x 4 per invocation, or two of them beside each other in the wide configuration. All tile configurations therefore give
// bit-identical results.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    // Threads of a CPU driver, or 1: the stride of the round-robin workgroup order.
    threads: u32,
    // Slope of the activation's negative side.
    slope: f32,
    dropout_rate: f32,
    dropout_key_0: u32,
    dropout_key_1: u32,
    // Window of a larger product: row stride of each binding, and the offset of the window's first element in it.
    @if(window) lhs_stride: u32,
    @if(window) lhs_first: u32,
    @if(window) rhs_stride: u32,
    @if(window) rhs_first: u32,
    @if(window) out_stride: u32,
    @if(window) out_first: u32,
    // First column of the window in the whole product.
    @if(window) out_column: u32,
    // Elements of the whole product before the bound part of `out`.
    @if(window) out_before: u32,
    // First slot of the sparse matrix's bound window.
    @if(window) first_slot: u32,
    // Slots of the sparse matrix's values.
    @if(window || split) slots: u32,
    // Split-K: contraction indices per segment, and workgroups per segment.
    @if(split) span: u32,
    @if(split) workgroups: u32,
    // Rows of the operand that `rows` gathers from.
    @if(lhs_gather || rhs_gather) gathered: u32,
}

@group(0) @binding(7) var<uniform> params: Params;

// Split-K: a dispatch has the workgroups of each segment of the contraction one after another, and stores the partial
// sums of each segment; a second kernel adds them in ascending order. Without a split there is one segment.
struct Segment {
    number: u32,
    begin: u32,
    end: u32,
}

fn segment_of(index: u32) -> Segment {
    @if(split) {
        let number = index / params.workgroups;
        return Segment(number, number * params.span, min((number + 1u) * params.span, params.k));
    }
    @if(!split) {
        return Segment(0u, 0u, params.k);
    }
}

// Index of a workgroup within its segment.
fn within_segment(index: u32) -> u32 {
    @if(split) {
        return index % params.workgroups;
    }
    @if(!split) {
        return index;
    }
}

// Operands are loaded as vec4 along their rows, or as scalars where the row length is no multiple of four.
@if(!lhs_scalar) @group(0) @binding(0) var<storage, read> lhs: array<Operand4>;
@if(lhs_scalar) @group(0) @binding(0) var<storage, read> lhs: array<Operand>;
@if(!rhs_scalar) @group(0) @binding(1) var<storage, read> rhs: array<Operand4>;
@if(rhs_scalar) @group(0) @binding(1) var<storage, read> rhs: array<Operand>;

// Storage type of the operands; loads convert to f32, and all accumulation is in f32.
@if(half) alias Operand = f16;
@if(!half) alias Operand = f32;
@if(half) alias Operand4 = vec4<f16>;
@if(!half) alias Operand4 = vec4<f32>;

// Four consecutive stored elements of a row.
@if(!lhs_scalar)
fn lhs_stored4(index: u32) -> Operand4 {
    return lhs[index / 4u];
}
@if(lhs_scalar)
fn lhs_stored4(index: u32) -> Operand4 {
    let last = arrayLength(&lhs) - 1u;
    return Operand4(
        lhs[min(index, last)], lhs[min(index + 1u, last)], lhs[min(index + 2u, last)], lhs[min(index + 3u, last)],
    );
}

@if(!rhs_scalar)
fn rhs_stored4(index: u32) -> Operand4 {
    return rhs[index / 4u];
}
@if(rhs_scalar)
fn rhs_stored4(index: u32) -> Operand4 {
    let last = arrayLength(&rhs) - 1u;
    return Operand4(
        rhs[min(index, last)], rhs[min(index + 1u, last)], rhs[min(index + 2u, last)], rhs[min(index + 3u, last)],
    );
}

fn lhs4(index: u32) -> vec4<f32> {
    return vec4<f32>(lhs_stored4(index));
}

fn rhs4(index: u32) -> vec4<f32> {
    return vec4<f32>(rhs_stored4(index));
}

// Offset of an operand's element, by its row and column in storage order.
@if(window)
fn lhs_at(row: u32, column: u32) -> u32 {
    return params.lhs_first + row * params.lhs_stride + column;
}
@if(!window && !lhs_t)
fn lhs_at(row: u32, column: u32) -> u32 {
    return row * params.k + column;
}
@if(!window && lhs_t)
fn lhs_at(row: u32, column: u32) -> u32 {
    return row * params.m + column;
}

@if(window)
fn rhs_at(row: u32, column: u32) -> u32 {
    return params.rhs_first + row * params.rhs_stride + column;
}
@if(!window && !rhs_t)
fn rhs_at(row: u32, column: u32) -> u32 {
    return row * params.n + column;
}
@if(!window && rhs_t)
fn rhs_at(row: u32, column: u32) -> u32 {
    return row * params.k + column;
}

// Row r of a gathered operand is row rows[r] of the bound tensor, clamped to its last row.
@if(lhs_gather || rhs_gather) @group(0) @binding(3) var<storage, read> rows: array<vec4<u32>>;

@if(lhs_gather || rhs_gather)
fn gathered(row: u32) -> vec4<u32> {
    return min(rows[row / 4u], vec4<u32>(params.gathered - 1u));
}

@if(lhs_gather || rhs_gather)
fn gathered_one(row: u32) -> u32 {
    return min(rows[row / 4u][row % 4u], params.gathered - 1u);
}

// 4 x 4 fragment of an operand: piece[kk] holds four elements along m (or n) at contraction index kk.
alias Piece = mat4x4<f32>;

// Fragment of op(lhs) at rows i..i + 3 and contraction indices k..k + 3. Rows past the end repeat the last and are
// never stored.
fn lhs_piece(i: u32, k: u32) -> Piece {
    return lhs_piece_of(lhs_rows(i), k);
}

// Offsets of rows i..i + 3 of op(lhs), hoisted out of the loop over k.
@if(!lhs_t)
fn lhs_rows(i: u32) -> vec4<u32> {
    @if(!lhs_gather) {
        let row = min(vec4<u32>(i, i + 1u, i + 2u, i + 3u), vec4<u32>(params.m - 1u));
        return vec4<u32>(lhs_at(row.x, 0u), lhs_at(row.y, 0u), lhs_at(row.z, 0u), lhs_at(row.w, 0u));
    }
    @if(lhs_gather) {
        let row = gathered(i);
        return vec4<u32>(lhs_at(row.x, 0u), lhs_at(row.y, 0u), lhs_at(row.z, 0u), lhs_at(row.w, 0u));
    }
}
@if(lhs_t)
fn lhs_rows(i: u32) -> vec4<u32> {
    return vec4<u32>(min(i, (params.m - 1u) & ~3u));
}

// Offset of row i of lhs.
@if(!lhs_t)
fn lhs_row(i: u32) -> u32 {
    @if(!lhs_gather) {
        return lhs_at(min(i, params.m - 1u), 0u);
    }
    @if(lhs_gather) {
        return lhs_at(gathered_one(i), 0u);
    }
}

@if(!lhs_t)
fn lhs_piece_of(begin: vec4<u32>, k: u32) -> Piece {
    return ended(transpose(Piece(lhs4(begin.x + k), lhs4(begin.y + k), lhs4(begin.z + k), lhs4(begin.w + k))), k);
}
@if(lhs_t)
fn lhs_piece_of(begin: vec4<u32>, k: u32) -> Piece {
    return ended(Piece(
        lhs4(lhs_at(contraction(k), begin.x)),
        lhs4(lhs_at(contraction(k + 1u), begin.x)),
        lhs4(lhs_at(contraction(k + 2u), begin.x)),
        lhs4(lhs_at(contraction(k + 3u), begin.x)),
    ), k);
}

// Fragment of op(rhs) at contraction indices k..k + 3 and columns j..j + 3.
@if(!rhs_t)
fn rhs_piece(k: u32, j: u32) -> Piece {
    let column = min(j, (params.n - 1u) & ~3u);
    let row = rhs_rows(k);
    return ended(Piece(
        rhs4(rhs_at(row.x, column)),
        rhs4(rhs_at(row.y, column)),
        rhs4(rhs_at(row.z, column)),
        rhs4(rhs_at(row.w, column)),
    ), k);
}
@if(!rhs_t)
fn rhs_rows(k: u32) -> vec4<u32> {
    @if(!rhs_gather) {
        return vec4<u32>(contraction(k), contraction(k + 1u), contraction(k + 2u), contraction(k + 3u));
    }
    @if(rhs_gather) {
        return gathered(k);
    }
}
@if(rhs_t)
fn rhs_piece(k: u32, j: u32) -> Piece {
    let last = params.n - 1u;
    return ended(transpose(Piece(
        rhs4(rhs_at(min(j, last), k)),
        rhs4(rhs_at(min(j + 1u, last), k)),
        rhs4(rhs_at(min(j + 2u, last), k)),
        rhs4(rhs_at(min(j + 3u, last), k)),
    )), k);
}

// Zeroes contraction indices past the end, in both operands, where four does not divide k.
@if(k_tail)
fn ended(piece: Piece, k: u32) -> Piece {
    let zero = vec4<f32>();
    return Piece(
        select(zero, piece[0], k < params.k),
        select(zero, piece[1], k + 1u < params.k),
        select(zero, piece[2], k + 2u < params.k),
        select(zero, piece[3], k + 3u < params.k),
    );
}
@if(!k_tail)
fn ended(piece: Piece, k: u32) -> Piece {
    return piece;
}

@if(k_tail)
fn contraction(k: u32) -> u32 {
    return min(k, params.k - 1u);
}
@if(!k_tail)
fn contraction(k: u32) -> u32 {
    return k;
}

// Micro-tile: the 8 x 4 accumulators of one invocation; HALVES of them in the wide configuration, one after another.
@if(!wide) const HALVES = 1u;
@if(wide) const HALVES = 2u;
alias Tile = array<vec4<f32>, 8u * HALVES>;

// Rank-1 update at one contraction index: tile += (a, b) * v^T.
fn add_outer(tile: ptr<function, Tile>, a: vec4<f32>, b: vec4<f32>, v: vec4<f32>) {
    (*tile)[0] = fma(vec4<f32>(a.x), v, (*tile)[0]);
    (*tile)[1] = fma(vec4<f32>(a.y), v, (*tile)[1]);
    (*tile)[2] = fma(vec4<f32>(a.z), v, (*tile)[2]);
    (*tile)[3] = fma(vec4<f32>(a.w), v, (*tile)[3]);
    (*tile)[4] = fma(vec4<f32>(b.x), v, (*tile)[4]);
    (*tile)[5] = fma(vec4<f32>(b.y), v, (*tile)[5]);
    (*tile)[6] = fma(vec4<f32>(b.z), v, (*tile)[6]);
    (*tile)[7] = fma(vec4<f32>(b.w), v, (*tile)[7]);
}

// Rank-1 update of the second half of a wide micro-tile.
@if(wide)
fn add_outer_beside(tile: ptr<function, Tile>, a: vec4<f32>, b: vec4<f32>, v: vec4<f32>) {
    (*tile)[8] = fma(vec4<f32>(a.x), v, (*tile)[8]);
    (*tile)[9] = fma(vec4<f32>(a.y), v, (*tile)[9]);
    (*tile)[10] = fma(vec4<f32>(a.z), v, (*tile)[10]);
    (*tile)[11] = fma(vec4<f32>(a.w), v, (*tile)[11]);
    (*tile)[12] = fma(vec4<f32>(b.x), v, (*tile)[12]);
    (*tile)[13] = fma(vec4<f32>(b.y), v, (*tile)[13]);
    (*tile)[14] = fma(vec4<f32>(b.z), v, (*tile)[14]);
    (*tile)[15] = fma(vec4<f32>(b.w), v, (*tile)[15]);
}

// Rank-4 update: four contraction indices in ascending order.
fn add_pieces(tile: ptr<function, Tile>, a: Piece, b: Piece, v: Piece) {
    add_outer(tile, a[0], b[0], v[0]);
    add_outer(tile, a[1], b[1], v[1]);
    add_outer(tile, a[2], b[2], v[2]);
    add_outer(tile, a[3], b[3], v[3]);
}
