// Workgroup tiles with cooperative matrices: f16 operands staged through workgroup memory, f32 accumulators.
//
// A workgroup computes a BM x BN tile of the product in steps of BK along the contraction. Each subgroup owns a
// subgroup tile of ROWS x COLUMNS fragments of SIDE x SIDE. The host dispatches one subgroup of the largest size
// (LANES) per subgroup tile. Where subgroups are smaller there are more of them, and several compute and store the
// same subgroup tile. The driver chooses the summation order within a fragment: results repeat from run to run, but
// differ in their bits from the f32 variants.
//
// Constraints of known drivers: no arrays of cooperative matrices; only load, multiply-add and store, all in uniform
// control flow; no other subgroup operations in the same module.
import package::common::matmul::{params, lhs_stored4, rhs_stored4, lhs_at, rhs_at, lhs_row};
@if(rhs_gather)
import package::common::matmul::gathered;
import package::constants::{SIDE, LANES, BM, BN, BK};

@if(matrix_16) alias AFragment = coop_mat16x16<f16, A>;
@if(matrix_16) alias BFragment = coop_mat16x16<f16, B>;
@if(matrix_16) alias Accumulator = coop_mat16x16<f32, C>;
@if(!matrix_16) alias AFragment = coop_mat8x8<f16, A>;
@if(!matrix_16) alias BFragment = coop_mat8x8<f16, B>;
@if(!matrix_16) alias Accumulator = coop_mat8x8<f32, C>;

const ROWS = min(2u, BM / SIDE);
const COLUMNS = min(2u, BN / SIDE);
const SUBTILES_ACROSS = BN / (SIDE * COLUMNS);
const SUBTILES = BM / (SIDE * ROWS) * SUBTILES_ACROSS;
const INVOCATIONS = SUBTILES * LANES;

// Subgroup tile of an invocation. Workgroups are one-dimensional with a multiple of the subgroup size, hence
// subgroups are consecutive invocations.
fn subtile_of(local: u32, size: u32) -> u32 {
    return local / size % SUBTILES;
}

// Padding per staged row, in f16 elements: shifts rows to different banks and keeps rows aligned to 16 bytes.
@if(padded) const PAD = 8u;
@if(!padded) const PAD = 0u;

// Staged tiles keep the storage order of their operand: contraction index innermost, or m (n) innermost where
// transposed.
@if(!lhs_t) const A_ROW = BK;
@if(lhs_t) const A_ROW = BM;
@if(!rhs_t) const B_ROW = BN;
@if(rhs_t) const B_ROW = BK;
const A_STRIDE = A_ROW + PAD;
const B_STRIDE = B_ROW + PAD;
const A_QUADS = BM * BK / 4u;
const B_QUADS = BK * BN / 4u;

var<workgroup> a_tile: array<f16, A_QUADS * 4u / A_ROW * A_STRIDE>;
var<workgroup> b_tile: array<f16, B_QUADS * 4u / B_ROW * B_STRIDE>;
// One accumulator fragment per subgroup tile, on its way to the epilogue.
var<workgroup> result: array<f32, SUBTILES * SIDE * SIDE>;

// Prefetch registers: vectors of the next K step, loaded while the subgroups multiply the staged one (double
// buffering).
const A_LOADS = (A_QUADS + INVOCATIONS - 1u) / INVOCATIONS;
const B_LOADS = (B_QUADS + INVOCATIONS - 1u) / INVOCATIONS;
alias APrefetch = array<vec4<f16>, A_LOADS>;
alias BPrefetch = array<vec4<f16>, B_LOADS>;

// Index of the n-th vector of four that an invocation stages. Past the end it repeats the last vector, which is
// harmless.
fn a_quad(local: u32, each: u32) -> u32 {
    return min(local + each * INVOCATIONS, A_QUADS - 1u);
}

fn b_quad(local: u32, each: u32) -> u32 {
    return min(local + each * INVOCATIONS, B_QUADS - 1u);
}

// (row or column of the product, contraction index) of a vector's first element, relative to the staged tile.
fn a_place(quad: u32) -> vec2<u32> {
    let place = vec2<u32>(quad * 4u / A_ROW, quad * 4u % A_ROW);
    @if(!lhs_t) {
        return place;
    }
    @if(lhs_t) {
        return place.yx;
    }
}

fn b_place(quad: u32) -> vec2<u32> {
    let place = vec2<u32>(quad * 4u / B_ROW, quad * 4u % B_ROW);
    @if(!rhs_t) {
        return place.yx;
    }
    @if(rhs_t) {
        return place;
    }
}

// Stages the prefetched vectors: writes them to the tiles in workgroup memory.
fn stage(a_prefetch: ptr<function, APrefetch>, b_prefetch: ptr<function, BPrefetch>, local: u32) {
    for (var each = 0u; each < A_LOADS; each++) {
        let quad = a_quad(local, each);
        let at = quad * 4u / A_ROW * A_STRIDE + quad * 4u % A_ROW;
        let four = (*a_prefetch)[each];
        a_tile[at] = four.x;
        a_tile[at + 1u] = four.y;
        a_tile[at + 2u] = four.z;
        a_tile[at + 3u] = four.w;
    }
    for (var each = 0u; each < B_LOADS; each++) {
        let quad = b_quad(local, each);
        let at = quad * 4u / B_ROW * B_STRIDE + quad * 4u % B_ROW;
        let four = (*b_prefetch)[each];
        b_tile[at] = four.x;
        b_tile[at + 1u] = four.y;
        b_tile[at + 2u] = four.z;
        b_tile[at + 3u] = four.w;
    }
}

// Four consecutive stored elements of op(lhs), from row i and contraction index k on. Zero for k past the end, in
// both operands; rows past the end hold unspecified values, which are never stored.
fn load_a4(i: u32, k: u32) -> vec4<f16> {
    if k >= params.k {
        return vec4<f16>();
    }
    @if(!lhs_t) {
        return ended(lhs_stored4(lhs_row(i) + k), k);
    }
    @if(lhs_t) {
        return lhs_stored4(lhs_at(k, min(i, (params.m - 1u) & ~3u)));
    }
}

// Four consecutive stored elements of op(rhs), from column j and contraction index k on. Zero for k past the end.
fn load_b4(j: u32, k: u32) -> vec4<f16> {
    if k >= params.k {
        return vec4<f16>();
    }
    @if(!rhs_t) {
        return rhs_stored4(rhs_at(rhs_row(k), min(j, (params.n - 1u) & ~3u)));
    }
    @if(rhs_t) {
        return ended(rhs_stored4(rhs_at(min(j, params.n - 1u), k)), k);
    }
}

@if(!rhs_t)
fn rhs_row(k: u32) -> u32 {
    @if(!rhs_gather) {
        return k;
    }
    @if(rhs_gather) {
        return gathered(k)[k % 4u];
    }
}

fn ended(four: vec4<f16>, k: u32) -> vec4<f16> {
    @if(k_tail) {
        let there = vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(params.k);
        return select(vec4<f16>(), four, there);
    }
    @if(!k_tail) {
        return four;
    }
}

// Prefetches the K step at contraction index k of the tile at row i and column j, both operands dense.
fn fetch(
    i: u32, j: u32, k: u32, local: u32, a_prefetch: ptr<function, APrefetch>, b_prefetch: ptr<function, BPrefetch>,
) {
    for (var each = 0u; each < A_LOADS; each++) {
        let place = a_place(a_quad(local, each));
        (*a_prefetch)[each] = load_a4(i + place.x, k + place.y);
    }
    for (var each = 0u; each < B_LOADS; each++) {
        let place = b_place(b_quad(local, each));
        (*b_prefetch)[each] = load_b4(j + place.x, k + place.y);
    }
}

// Multiplies the staged tiles and accumulates into the fragments of one subgroup tile.
fn multiply(
    subtile: u32,
    c00: ptr<function, Accumulator>, c01: ptr<function, Accumulator>,
    c10: ptr<function, Accumulator>, c11: ptr<function, Accumulator>,
) {
    let row = subtile / SUBTILES_ACROSS * ROWS * SIDE;
    let column = subtile % SUBTILES_ACROSS * COLUMNS * SIDE;
    for (var k = 0u; k < BK; k += SIDE) {
        let a0 = a_fragment(row, k);
        let b0 = b_fragment(k, column);
        *c00 = coopMultiplyAdd(a0, b0, *c00);
        if ROWS == 2u {
            let a1 = a_fragment(row + SIDE, k);
            *c10 = coopMultiplyAdd(a1, b0, *c10);
            if COLUMNS == 2u {
                let b1 = b_fragment(k, column + SIDE);
                *c01 = coopMultiplyAdd(a0, b1, *c01);
                *c11 = coopMultiplyAdd(a1, b1, *c11);
            }
        } else if COLUMNS == 2u {
            let b1 = b_fragment(k, column + SIDE);
            *c01 = coopMultiplyAdd(a0, b1, *c01);
        }
    }
}

fn a_fragment(row: u32, k: u32) -> AFragment {
    @if(!lhs_t) {
        return coopLoadT<AFragment>(&a_tile[row * A_STRIDE + k], A_STRIDE);
    }
    @if(lhs_t) {
        return coopLoad<AFragment>(&a_tile[k * A_STRIDE + row], A_STRIDE);
    }
}

fn b_fragment(k: u32, column: u32) -> BFragment {
    @if(!rhs_t) {
        return coopLoadT<BFragment>(&b_tile[k * B_STRIDE + column], B_STRIDE);
    }
    @if(rhs_t) {
        return coopLoad<BFragment>(&b_tile[column * B_STRIDE + k], B_STRIDE);
    }
}

// Offset in `result` of a subgroup tile's fragment.
fn result_at(subtile: u32) -> u32 {
    return subtile * SIDE * SIDE;
}

// Stores the accumulator of fragment (down, over) of a subgroup tile to workgroup memory, for the epilogue.
fn store_accumulators(
    subtile: u32, down: u32, over: u32,
    c00: ptr<function, Accumulator>, c01: ptr<function, Accumulator>,
    c10: ptr<function, Accumulator>, c11: ptr<function, Accumulator>,
) {
    if down == 0u {
        if over == 0u {
            coopStoreT(*c00, &result[result_at(subtile)], SIDE);
        } else {
            coopStoreT(*c01, &result[result_at(subtile)], SIDE);
        }
    } else if over == 0u {
        coopStoreT(*c10, &result[result_at(subtile)], SIDE);
    } else {
        coopStoreT(*c11, &result[result_at(subtile)], SIDE);
    }
}

// Vectors of four in `result`.
const RESULT_QUADS = SUBTILES * SIDE * SIDE / 4u;

// Row and column in the workgroup tile of a vector of `result`, which holds fragment (down, over) of every subgroup
// tile.
fn result_place(quad: u32, down: u32, over: u32) -> vec2<u32> {
    let subtile = quad / (SIDE * SIDE / 4u);
    let within = quad % (SIDE * SIDE / 4u);
    return vec2<u32>(
        (subtile / SUBTILES_ACROSS * ROWS + down) * SIDE + within / (SIDE / 4u),
        (subtile % SUBTILES_ACROSS * COLUMNS + over) * SIDE + within % (SIDE / 4u) * 4u,
    );
}

fn result4(quad: u32) -> vec4<f32> {
    let at = quad * 4u;
    return vec4<f32>(result[at], result[at + 1u], result[at + 2u], result[at + 3u]);
}
