// What the variants that use cooperative matrices share: f16 operands, staged through workgroup memory, and f32 sums.
//
// A workgroup has TALL x WIDE of the product. Its subgroups have a part each, of ROWS x COLUMNS matrices of SIDE x SIDE. The
// host starts as many subgroups as there are parts if all are as large as they may be; where they are smaller and so more,
// some compute the same part, and store the same. How a driver orders a sum within a matrix is its own affair: these variants
// give the same bits from run to run, and not those of the others.
//
// Kept to for drivers' sake: matrices are never in arrays; nothing but loads, products and stores is done with them, outside
// all branches that not all invocations take; and no module has arithmetic of subgroups too.
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

// The part of an invocation's subgroup. Workgroups have one dimension and are multiples of any subgroup, so subgroups are runs
// of invocations.
fn part_of(local: u32, size: u32) -> u32 {
    return local / size % PARTS;
}

// Halves behind each row of a panel: rows begin in different banks, and at multiples of 16 bytes.
@if(padded) const PAD = 8u;
@if(!padded) const PAD = 0u;

// Panels lie as the operands do: contraction indices are neighbours in a row, or rows and columns of the product are.
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
// A matrix of each part, on its way out.
var<workgroup> result: array<f32, PARTS * SIDE * SIDE>;

// What an invocation has fetched of the panels to come, while the subgroups multiply those that are there.
const LEFT_EACH = (LEFT_QUADS + INVOCATIONS - 1u) / INVOCATIONS;
const RIGHT_EACH = (RIGHT_QUADS + INVOCATIONS - 1u) / INVOCATIONS;
alias LeftAhead = array<vec4<f16>, LEFT_EACH>;
alias RightAhead = array<vec4<f16>, RIGHT_EACH>;

// Of the panels' vectors of four, which an invocation fetches; past the last it is the last again.
fn left_quad(local: u32, each: u32) -> u32 {
    return min(local + each * INVOCATIONS, LEFT_QUADS - 1u);
}

fn right_quad(local: u32, each: u32) -> u32 {
    return min(local + each * INVOCATIONS, RIGHT_QUADS - 1u);
}

// Row of the product (or column) and contraction index where such a vector begins, within the panel.
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

// Panels are filled from what was fetched.
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

// Four neighbours of the left operand as they are stored, from row i of the product and contraction index k on. Past the
// last index there are zeros, on both sides; rows past the end are not stored.
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

// The same of the right operand, from column j on.
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

// Two dense operands: fetches the panels at row i, column j and contraction index k.
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

// Adds the product of the panels to a subgroup's part.
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

// Where a part's matrix is put for all invocations to see.
fn result_at(part: u32) -> u32 {
    return part * SIDE * SIDE;
}

// Puts matrix (down, over) of a part there.
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

// Vectors of four in the matrices of all parts.
const RESULT_QUADS = PARTS * SIDE * SIDE / 4u;

// Row and column in the workgroup's product of such a vector, in matrix (down, over) of each part.
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
