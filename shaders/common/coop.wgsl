// Workgroup tiles with cooperative matrices: f16 operands staged through workgroup memory, f32 accumulators.
//
// A workgroup computes a BM x BN tile of the product in steps of BK along the contraction, or PARTS such tiles side by
// side. Each subgroup owns a subgroup tile of ROWS x COLUMNS fragments of SIDE x SIDE. The host dispatches one subgroup
// of the largest size (LANES) per subgroup tile. Where subgroups are smaller there are more of them, and several
// compute and store the same subgroup tile. The driver chooses the summation order within a fragment: results repeat
// from run to run, but differ in their bits from the f32 variants.
//
// Constraints of known drivers: no arrays of cooperative matrices; only load, multiply-add and store, all in uniform
// control flow; no other subgroup operations in the same module.
import package::common::matmul::{params, lhs_stored4, rhs_stored4, lhs_at, rhs_at, lhs_row};
@if(rhs_gather)
import package::common::matmul::gathered;
import package::constants::{SIDE, LANES, BM, BN, BK, ROWS, COLUMNS, PARTS};

@if(matrix_16) alias AFragment = coop_mat16x16<f16, A>;
@if(matrix_16) alias BFragment = coop_mat16x16<f16, B>;
@if(matrix_16) alias Accumulator = coop_mat16x16<f32, C>;
@if(!matrix_16) alias AFragment = coop_mat8x8<f16, A>;
@if(!matrix_16) alias BFragment = coop_mat8x8<f16, B>;
@if(!matrix_16) alias Accumulator = coop_mat8x8<f32, C>;

const SUBTILES_ACROSS = BN / (SIDE * COLUMNS);
// Subgroup tiles of one part, and of the workgroup.
const SUBTILES_OF_PART = BM / (SIDE * ROWS) * SUBTILES_ACROSS;
const SUBTILES = PARTS * SUBTILES_OF_PART;
const INVOCATIONS = SUBTILES * LANES;

// Subgroup tile of an invocation. Workgroups are one-dimensional with a multiple of the subgroup size, hence
// subgroups are consecutive invocations.
fn subtile_of(local: u32, size: u32) -> u32 {
    return local / size % SUBTILES;
}

// Padding per staged row, in f16 elements: shifts rows to different banks and keeps rows aligned to 16 bytes.
@if(padded) const PAD = 8u;
@if(!padded) const PAD = 0u;

// Staged tiles, contraction index innermost for both operands: `a_tile[row][k]`, `b_tile[column][k]`. Each lane then
// loads its part of a fragment in whole vectors; a fragment loaded across the rows would take a load per element.
const STRIDE = BK + PAD;
const A_ROWS = PARTS * BM;
const B_ROWS = PARTS * BN;

@if(!scalar_panels) var<workgroup> a_tile: array<vec4<f16>, A_ROWS * STRIDE / 4u>;
@if(!scalar_panels) var<workgroup> b_tile: array<vec4<f16>, B_ROWS * STRIDE / 4u>;
@if(scalar_panels) var<workgroup> a_tile: array<f16, A_ROWS * STRIDE>;
@if(scalar_panels) var<workgroup> b_tile: array<f16, B_ROWS * STRIDE>;
// One accumulator fragment per subgroup tile, on its way to the epilogue.
@if(!scalar_panels) var<workgroup> result: array<vec4<f32>, SUBTILES * SIDE * SIDE / 4u>;
@if(scalar_panels) var<workgroup> result: array<f32, SUBTILES * SIDE * SIDE>;

// Prefetch registers: the next K step, loaded while the subgroups multiply the staged one (double buffering). A unit
// is 16 elements of one operand in four vectors; units of `lhs` come before those of `rhs`.
alias Unit = array<vec4<f16>, 4>;
const A_UNITS = A_ROWS * BK / 16u;
const B_UNITS = B_ROWS * BK / 16u;
const LOADS = (A_UNITS + B_UNITS + INVOCATIONS - 1u) / INVOCATIONS;
alias Prefetch = array<Unit, LOADS>;

// Index of the n-th unit that an invocation stages. Past the end it repeats the last unit, which is harmless.
fn unit_of(local: u32, each: u32) -> u32 {
    return min(local + each * INVOCATIONS, A_UNITS + B_UNITS - 1u);
}

// Whether the n-th unit of an invocation is of `lhs`. Constant conditions decide most n at compile time.
fn is_of_lhs(unit: u32, each: u32) -> bool {
    return (each + 1u) * INVOCATIONS <= A_UNITS || (each * INVOCATIONS < A_UNITS && unit < A_UNITS);
}

// (staged row, contraction index) of the first element of a unit's n-th vector. A unit of an operand that is stored
// along the contraction is 2 rows x 8 contraction indices.
fn along(unit: u32, vector: u32) -> vec2<u32> {
    let across = BK / 8u;
    return vec2<u32>(unit / across * 2u + vector / 2u, unit % across * 8u + vector % 2u * 4u);
}

// `along` for an operand that is stored across the contraction: a unit is 4 x 4 elements, and a vector has one
// contraction index until it is transposed. Eight neighbouring units lie along the rows, which coalesces their loads;
// the next ones lie along the contraction, which spreads their stores over the banks.
fn across(unit: u32, vector: u32, rows: u32) -> vec2<u32> {
    let beside = min(8u, rows / 4u);
    let column = unit / beside % (BK / 4u);
    let row = unit / beside / (BK / 4u) * beside + unit % beside;
    return vec2<u32>(row * 4u, column * 4u + vector);
}

// (row of the staged `lhs`, contraction index) of a vector to load.
fn a_place(unit: u32, vector: u32) -> vec2<u32> {
    @if(!lhs_t) {
        return along(unit, vector);
    }
    @if(lhs_t) {
        return across(unit, vector, A_ROWS);
    }
}

// (row of the staged `rhs`, which is a column of the product; contraction index) of a vector to load.
fn b_place(unit: u32, vector: u32) -> vec2<u32> {
    @if(!rhs_t) {
        return across(unit, vector, B_ROWS);
    }
    @if(rhs_t) {
        return along(unit, vector);
    }
}

// Stages the prefetched units: writes them to the tiles in workgroup memory.
fn stage(prefetch: ptr<function, Prefetch>, local: u32) {
    for (var each = 0u; each < LOADS; each++) {
        let unit = unit_of(local, each);
        let first = (*prefetch)[each][0];
        let second = (*prefetch)[each][1];
        let third = (*prefetch)[each][2];
        let fourth = (*prefetch)[each][3];
        if is_of_lhs(unit, each) {
            @if(!lhs_t) {
                store_a(along(unit, 0u), first);
                store_a(along(unit, 1u), second);
                store_a(along(unit, 2u), third);
                store_a(along(unit, 3u), fourth);
            }
            @if(lhs_t) {
                let place = across(unit, 0u, A_ROWS);
                let square = transpose(mat4x4<f16>(first, second, third, fourth));
                store_a(place, square[0]);
                store_a(place + vec2<u32>(1u, 0u), square[1]);
                store_a(place + vec2<u32>(2u, 0u), square[2]);
                store_a(place + vec2<u32>(3u, 0u), square[3]);
            }
        } else {
            @if(rhs_t) {
                store_b(along(unit - A_UNITS, 0u), first);
                store_b(along(unit - A_UNITS, 1u), second);
                store_b(along(unit - A_UNITS, 2u), third);
                store_b(along(unit - A_UNITS, 3u), fourth);
            }
            @if(!rhs_t) {
                let place = across(unit - A_UNITS, 0u, B_ROWS);
                let square = transpose(mat4x4<f16>(first, second, third, fourth));
                store_b(place, square[0]);
                store_b(place + vec2<u32>(1u, 0u), square[1]);
                store_b(place + vec2<u32>(2u, 0u), square[2]);
                store_b(place + vec2<u32>(3u, 0u), square[3]);
            }
        }
    }
}

// Metal loads matrices through pointers to scalars, hence its panels are of scalars.
fn store_a(place: vec2<u32>, four: vec4<f16>) {
    let at = place.x * STRIDE + place.y;
    @if(!scalar_panels) {
        a_tile[at / 4u] = four;
    }
    @if(scalar_panels) {
        a_tile[at] = four.x;
        a_tile[at + 1u] = four.y;
        a_tile[at + 2u] = four.z;
        a_tile[at + 3u] = four.w;
    }
}

fn store_b(place: vec2<u32>, four: vec4<f16>) {
    let at = place.x * STRIDE + place.y;
    @if(!scalar_panels) {
        b_tile[at / 4u] = four;
    }
    @if(scalar_panels) {
        b_tile[at] = four.x;
        b_tile[at + 1u] = four.y;
        b_tile[at + 2u] = four.z;
        b_tile[at + 3u] = four.w;
    }
}

// Four consecutive stored elements of op(lhs), from row i and contraction index k on. Zero for k past the end, in
// both operands; rows past the end hold unspecified values, which are never stored. A clamped load and a selection
// take the place of a branch.
fn load_a4(i: u32, k: u32) -> vec4<f16> {
    @if(!lhs_t) {
        return ended(lhs_stored4(lhs_row(i) + min(k, last_k())), k);
    }
    @if(lhs_t) {
        return ended_row(lhs_stored4(lhs_at(min(k, params.k - 1u), min(i, (params.m - 1u) & ~3u))), k);
    }
}

// Four consecutive stored elements of op(rhs), from column j and contraction index k on. Zero for k past the end.
fn load_b4(j: u32, k: u32) -> vec4<f16> {
    @if(!rhs_t) {
        let row = rhs_row(min(k, params.k - 1u));
        return ended_row(rhs_stored4(rhs_at(row, min(j, (params.n - 1u) & ~3u))), k);
    }
    @if(rhs_t) {
        return ended(rhs_stored4(rhs_at(min(j, params.n - 1u), min(k, last_k()))), k);
    }
}

// Last contraction index at which a vector along the contraction begins.
@if(!lhs_t || rhs_t)
fn last_k() -> u32 {
    @if(!k_tail) {
        return params.k - 4u;
    }
    @if(k_tail) {
        return params.k - 1u;
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

// Zeroes contraction indices past the end of a vector along the contraction.
fn ended(four: vec4<f16>, k: u32) -> vec4<f16> {
    @if(k_tail) {
        let there = vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(params.k);
        return select(vec4<f16>(), four, there);
    }
    @if(!k_tail) {
        return ended_row(four, k);
    }
}

// Zeroes a vector of one contraction index past the end.
fn ended_row(four: vec4<f16>, k: u32) -> vec4<f16> {
    return select(vec4<f16>(), four, k < params.k);
}

// Prefetches the K step at contraction index k of the tile at row i and column j, both operands dense.
fn fetch(i: u32, j: u32, k: u32, local: u32, prefetch: ptr<function, Prefetch>) {
    for (var each = 0u; each < LOADS; each++) {
        let unit = unit_of(local, each);
        for (var vector = 0u; vector < 4u; vector++) {
            if is_of_lhs(unit, each) {
                let place = a_place(unit, vector);
                (*prefetch)[each][vector] = load_a4(i + place.x, k + place.y);
            } else {
                let place = b_place(unit - A_UNITS, vector);
                (*prefetch)[each][vector] = load_b4(j + place.x, k + place.y);
            }
        }
    }
}

// Accumulators of the subgroup tile by row and column. Those past ROWS and COLUMNS are never used, and cost nothing.
var<private> c00: Accumulator;
var<private> c01: Accumulator;
var<private> c02: Accumulator;
var<private> c03: Accumulator;
var<private> c10: Accumulator;
var<private> c11: Accumulator;
var<private> c12: Accumulator;
var<private> c13: Accumulator;
var<private> c20: Accumulator;
var<private> c21: Accumulator;
var<private> c22: Accumulator;
var<private> c23: Accumulator;
var<private> c30: Accumulator;
var<private> c31: Accumulator;
var<private> c32: Accumulator;
var<private> c33: Accumulator;

// Multiplies the staged tiles and accumulates into the fragments of one subgroup tile.
fn multiply(subtile: u32) {
    let row = subtile / SUBTILES_ACROSS * ROWS * SIDE;
    let column = subtile / SUBTILES_OF_PART * BN + subtile % SUBTILES_ACROSS * COLUMNS * SIDE;
    for (var k = 0u; k < BK; k += SIDE) {
        let a0 = a_fragment(row, k);
        var a1: AFragment;
        var a2: AFragment;
        var a3: AFragment;
        if ROWS >= 2u {
            a1 = a_fragment(row + SIDE, k);
        }
        if ROWS == 4u {
            a2 = a_fragment(row + 2u * SIDE, k);
            a3 = a_fragment(row + 3u * SIDE, k);
        }
        let b0 = b_fragment(column, k);
        c00 = coopMultiplyAdd(a0, b0, c00);
        if ROWS >= 2u {
            c10 = coopMultiplyAdd(a1, b0, c10);
        }
        if ROWS == 4u {
            c20 = coopMultiplyAdd(a2, b0, c20);
            c30 = coopMultiplyAdd(a3, b0, c30);
        }
        if COLUMNS >= 2u {
            let b1 = b_fragment(column + SIDE, k);
            c01 = coopMultiplyAdd(a0, b1, c01);
            if ROWS >= 2u {
                c11 = coopMultiplyAdd(a1, b1, c11);
            }
            if ROWS == 4u {
                c21 = coopMultiplyAdd(a2, b1, c21);
                c31 = coopMultiplyAdd(a3, b1, c31);
            }
        }
        if COLUMNS == 4u {
            let b2 = b_fragment(column + 2u * SIDE, k);
            c02 = coopMultiplyAdd(a0, b2, c02);
            if ROWS >= 2u {
                c12 = coopMultiplyAdd(a1, b2, c12);
            }
            if ROWS == 4u {
                c22 = coopMultiplyAdd(a2, b2, c22);
                c32 = coopMultiplyAdd(a3, b2, c32);
            }
            let b3 = b_fragment(column + 3u * SIDE, k);
            c03 = coopMultiplyAdd(a0, b3, c03);
            if ROWS >= 2u {
                c13 = coopMultiplyAdd(a1, b3, c13);
            }
            if ROWS == 4u {
                c23 = coopMultiplyAdd(a2, b3, c23);
                c33 = coopMultiplyAdd(a3, b3, c33);
            }
        }
    }
}

fn a_fragment(row: u32, k: u32) -> AFragment {
    @if(!scalar_panels) {
        return coopLoadT<AFragment>(&a_tile[(row * STRIDE + k) / 4u], STRIDE / 4u);
    }
    @if(scalar_panels) {
        return coopLoadT<AFragment>(&a_tile[row * STRIDE + k], STRIDE);
    }
}

fn b_fragment(column: u32, k: u32) -> BFragment {
    @if(!scalar_panels) {
        return coopLoad<BFragment>(&b_tile[(column * STRIDE + k) / 4u], STRIDE / 4u);
    }
    @if(scalar_panels) {
        return coopLoad<BFragment>(&b_tile[column * STRIDE + k], STRIDE);
    }
}

// Stores the accumulator of fragment (down, over) of a subgroup tile to workgroup memory, for the epilogue.
fn store_accumulators(subtile: u32, down: u32, over: u32) {
    switch down * 4u + over {
        case 0u: {
            store_fragment(c00, subtile);
        }
        case 1u: {
            store_fragment(c01, subtile);
        }
        case 2u: {
            store_fragment(c02, subtile);
        }
        case 3u: {
            store_fragment(c03, subtile);
        }
        case 4u: {
            store_fragment(c10, subtile);
        }
        case 5u: {
            store_fragment(c11, subtile);
        }
        case 6u: {
            store_fragment(c12, subtile);
        }
        case 7u: {
            store_fragment(c13, subtile);
        }
        case 8u: {
            store_fragment(c20, subtile);
        }
        case 9u: {
            store_fragment(c21, subtile);
        }
        case 10u: {
            store_fragment(c22, subtile);
        }
        case 11u: {
            store_fragment(c23, subtile);
        }
        case 12u: {
            store_fragment(c30, subtile);
        }
        case 13u: {
            store_fragment(c31, subtile);
        }
        case 14u: {
            store_fragment(c32, subtile);
        }
        default: {
            store_fragment(c33, subtile);
        }
    }
}

fn store_fragment(fragment: Accumulator, subtile: u32) {
    @if(!scalar_panels) {
        coopStoreT(fragment, &result[subtile * SIDE * SIDE / 4u], SIDE / 4u);
    }
    @if(scalar_panels) {
        coopStoreT(fragment, &result[subtile * SIDE * SIDE], SIDE);
    }
}

// Vectors of four in `result`.
const RESULT_QUADS = SUBTILES * SIDE * SIDE / 4u;

// Row (below PARTS * BM) and column in the workgroup tile of a vector of `result`, which holds fragment (down, over) of
// every subgroup tile.
fn result_place(quad: u32, down: u32, over: u32) -> vec2<u32> {
    let subtile = quad / (SIDE * SIDE / 4u);
    let within = quad % (SIDE * SIDE / 4u);
    return vec2<u32>(
        (subtile / SUBTILES_ACROSS * ROWS + down) * SIDE + within / (SIDE / 4u),
        (subtile % SUBTILES_ACROSS * COLUMNS + over) * SIDE + within % (SIDE / 4u) * 4u,
    );
}

fn result4(quad: u32) -> vec4<f32> {
    @if(!scalar_panels) {
        return result[quad];
    }
    @if(scalar_panels) {
        let at = quad * 4u;
        return vec4<f32>(result[at], result[at + 1u], result[at + 2u], result[at + 3u]);
    }
}
