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
import package::constants::{SIDE, LANES, TALL, WIDE, DEPTH};

@if(matrix_16) alias Left = coop_mat16x16<f16, A>;
@if(matrix_16) alias Right = coop_mat16x16<f16, B>;
@if(matrix_16) alias Sum = coop_mat16x16<f32, C>;
@if(!matrix_16) alias Left = coop_mat8x8<f16, A>;
@if(!matrix_16) alias Right = coop_mat8x8<f16, B>;
@if(!matrix_16) alias Sum = coop_mat8x8<f32, C>;

const ROWS = min(2u, TALL / SIDE);
const COLUMNS = min(2u, WIDE / SIDE);
const ACROSS = WIDE / (SIDE * COLUMNS);
const PARTS = TALL / (SIDE * ROWS) * ACROSS;
const INVOCATIONS = PARTS * LANES;

// Subgroup tile of an invocation. Workgroups are one-dimensional with a multiple of the subgroup size, hence
// subgroups are consecutive invocations.
fn part_of(local: u32, size: u32) -> u32 {
    return local / size % PARTS;
}

// Padding per staged row, in f16 elements: shifts rows to different banks and keeps rows aligned to 16 bytes.
@if(padded) const PAD = 8u;
@if(!padded) const PAD = 0u;

// Staged tiles keep the storage order of their operand: contraction index innermost, or m (n) innermost where
// transposed.
@if(!lhs_t) const LEFT_ROW = DEPTH;
@if(lhs_t) const LEFT_ROW = TALL;
@if(!rhs_t) const RIGHT_ROW = WIDE;
@if(rhs_t) const RIGHT_ROW = DEPTH;
const LEFT_STRIDE = LEFT_ROW + PAD;
const RIGHT_STRIDE = RIGHT_ROW + PAD;
const LEFT_QUADS = TALL * DEPTH / 4u;
const RIGHT_QUADS = DEPTH * WIDE / 4u;

var<workgroup> left: array<f16, LEFT_QUADS * 4u / LEFT_ROW * LEFT_STRIDE>;
var<workgroup> right: array<f16, RIGHT_QUADS * 4u / RIGHT_ROW * RIGHT_STRIDE>;
// One accumulator fragment per subgroup tile, on its way to the epilogue.
var<workgroup> result: array<f32, PARTS * SIDE * SIDE>;

// Prefetch registers: vectors of the next K step, loaded while the subgroups multiply the staged one (double
// buffering).
const LEFT_EACH = (LEFT_QUADS + INVOCATIONS - 1u) / INVOCATIONS;
const RIGHT_EACH = (RIGHT_QUADS + INVOCATIONS - 1u) / INVOCATIONS;
alias LeftAhead = array<vec4<f16>, LEFT_EACH>;
alias RightAhead = array<vec4<f16>, RIGHT_EACH>;

// Index of the n-th vector of four that an invocation stages. Past the end it repeats the last vector, which is
// harmless.
fn left_quad(local: u32, each: u32) -> u32 {
    return min(local + each * INVOCATIONS, LEFT_QUADS - 1u);
}

fn right_quad(local: u32, each: u32) -> u32 {
    return min(local + each * INVOCATIONS, RIGHT_QUADS - 1u);
}

// (row or column of the product, contraction index) of a vector's first element, relative to the staged tile.
fn left_place(quad: u32) -> vec2<u32> {
    let place = vec2<u32>(quad * 4u / LEFT_ROW, quad * 4u % LEFT_ROW);
    @if(!lhs_t) {
        return place;
    }
    @if(lhs_t) {
        return place.yx;
    }
}

fn right_place(quad: u32) -> vec2<u32> {
    let place = vec2<u32>(quad * 4u / RIGHT_ROW, quad * 4u % RIGHT_ROW);
    @if(!rhs_t) {
        return place.yx;
    }
    @if(rhs_t) {
        return place;
    }
}

// Stages the prefetched vectors: writes them to the tiles in workgroup memory.
fn fill(near: ptr<function, LeftAhead>, far: ptr<function, RightAhead>, local: u32) {
    for (var each = 0u; each < LEFT_EACH; each++) {
        let quad = left_quad(local, each);
        let at = quad * 4u / LEFT_ROW * LEFT_STRIDE + quad * 4u % LEFT_ROW;
        let four = (*near)[each];
        left[at] = four.x;
        left[at + 1u] = four.y;
        left[at + 2u] = four.z;
        left[at + 3u] = four.w;
    }
    for (var each = 0u; each < RIGHT_EACH; each++) {
        let quad = right_quad(local, each);
        let at = quad * 4u / RIGHT_ROW * RIGHT_STRIDE + quad * 4u % RIGHT_ROW;
        let four = (*far)[each];
        right[at] = four.x;
        right[at + 1u] = four.y;
        right[at + 2u] = four.z;
        right[at + 3u] = four.w;
    }
}

// Four consecutive stored elements of op(lhs), from row i and contraction index k on. Zero for k past the end, in
// both operands; rows past the end hold unspecified values, which are never stored.
fn left4(i: u32, k: u32) -> vec4<f16> {
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
fn right4(j: u32, k: u32) -> vec4<f16> {
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
fn fetch(i: u32, j: u32, k: u32, local: u32, near: ptr<function, LeftAhead>, far: ptr<function, RightAhead>) {
    for (var each = 0u; each < LEFT_EACH; each++) {
        let place = left_place(left_quad(local, each));
        (*near)[each] = left4(i + place.x, k + place.y);
    }
    for (var each = 0u; each < RIGHT_EACH; each++) {
        let place = right_place(right_quad(local, each));
        (*far)[each] = right4(j + place.x, k + place.y);
    }
}

// Multiplies the staged tiles and accumulates into the fragments of one subgroup tile.
fn multiply(part: u32, c00: ptr<function, Sum>, c01: ptr<function, Sum>, c10: ptr<function, Sum>, c11: ptr<function, Sum>) {
    let row = part / ACROSS * ROWS * SIDE;
    let column = part % ACROSS * COLUMNS * SIDE;
    for (var k = 0u; k < DEPTH; k += SIDE) {
        let a0 = left_matrix(row, k);
        let b0 = right_matrix(k, column);
        *c00 = coopMultiplyAdd(a0, b0, *c00);
        if ROWS == 2u {
            let a1 = left_matrix(row + SIDE, k);
            *c10 = coopMultiplyAdd(a1, b0, *c10);
            if COLUMNS == 2u {
                let b1 = right_matrix(k, column + SIDE);
                *c01 = coopMultiplyAdd(a0, b1, *c01);
                *c11 = coopMultiplyAdd(a1, b1, *c11);
            }
        } else if COLUMNS == 2u {
            let b1 = right_matrix(k, column + SIDE);
            *c01 = coopMultiplyAdd(a0, b1, *c01);
        }
    }
}

fn left_matrix(row: u32, k: u32) -> Left {
    @if(!lhs_t) {
        return coopLoadT<Left>(&left[row * LEFT_STRIDE + k], LEFT_STRIDE);
    }
    @if(lhs_t) {
        return coopLoad<Left>(&left[k * LEFT_STRIDE + row], LEFT_STRIDE);
    }
}

fn right_matrix(k: u32, column: u32) -> Right {
    @if(!rhs_t) {
        return coopLoadT<Right>(&right[k * RIGHT_STRIDE + column], RIGHT_STRIDE);
    }
    @if(rhs_t) {
        return coopLoad<Right>(&right[column * RIGHT_STRIDE + k], RIGHT_STRIDE);
    }
}

// Offset in `result` of a subgroup tile's fragment.
fn result_at(part: u32) -> u32 {
    return part * SIDE * SIDE;
}

// Stores the accumulator of fragment (down, over) of a subgroup tile to workgroup memory, for the epilogue.
fn show(
    part: u32, down: u32, over: u32,
    c00: ptr<function, Sum>, c01: ptr<function, Sum>, c10: ptr<function, Sum>, c11: ptr<function, Sum>,
) {
    if down == 0u {
        if over == 0u {
            coopStoreT(*c00, &result[result_at(part)], SIDE);
        } else {
            coopStoreT(*c01, &result[result_at(part)], SIDE);
        }
    } else if over == 0u {
        coopStoreT(*c10, &result[result_at(part)], SIDE);
    } else {
        coopStoreT(*c11, &result[result_at(part)], SIDE);
    }
}

// Vectors of four in `result`.
const RESULT_QUADS = PARTS * SIDE * SIDE / 4u;

// Row and column in the workgroup tile of a vector of `result`, which holds fragment (down, over) of every subgroup
// tile.
fn result_place(quad: u32, down: u32, over: u32) -> vec2<u32> {
    let part = quad / (SIDE * SIDE / 4u);
    let within = quad % (SIDE * SIDE / 4u);
    return vec2<u32>(
        (part / ACROSS * ROWS + down) * SIDE + within / (SIDE / 4u),
        (part % ACROSS * COLUMNS + over) * SIDE + within % (SIDE / 4u) * 4u,
    );
}

fn result4(quad: u32) -> vec4<f32> {
    let at = quad * 4u;
    return vec4<f32>(result[at], result[at + 1u], result[at + 2u], result[at + 3u]);
}
