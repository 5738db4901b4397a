// LAMB (You et al. 2019): the direction of Adam with weight decay, scaled for each parameter by its trust ratio.
//
//   direction = first / (sqrt(second) + epsilon) + decay * value, with corrected moments
//   value     = value - rate * ratio * direction
//
// With `moments` the pass that comes first: it updates the moments, and sums the squares of values and directions of each chunk. The
// second pass computes the direction again, which is cheaper than to store it.
import package::common::grid::workgroup_index;
import package::common::parameters::{table, row_of, CHUNK, EACH};
import package::common::step::now;
@if(moments)
import package::common::parameters::sum_pairs;
@if(scaled)
import package::common::loss_scale::LossScale;
@if(births || scaled)
import package::common::moments::corrected;

struct Params {
    rows: u32,
    chunks: u32,
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    weight_decay: f32,
    @if(births || scaled)
    ln_beta_1: f32,
    @if(births || scaled)
    ln_beta_2: f32,
    // Ranges of blocks, behind the rows of `table`: [first cell, cell behind the last, binary logarithm of the cells per block, word of
    // the first block in `born`].
    @if(births)
    range_count: u32,
    // Place in `partials` of the window's first chunk.
    @if(moments)
    first_chunk: u32,
}

// One element, or a vec4 where four divides the offsets of all parameters.
@if(!quads) alias Cell = f32;
@if(quads) alias Cell = vec4<f32>;

@if(moments) @group(0) @binding(0) var<storage, read> values: array<Cell>;
@if(!moments) @group(0) @binding(0) var<storage, read_write> values: array<Cell>;
@if(moments) @group(0) @binding(1) var<storage, read> grads: array<Cell>;
@if(moments) @group(0) @binding(2) var<storage, read_write> first: array<Cell>;
@if(!moments) @group(0) @binding(2) var<storage, read> first: array<Cell>;
@if(moments) @group(0) @binding(3) var<storage, read_write> second: array<Cell>;
@if(!moments) @group(0) @binding(3) var<storage, read> second: array<Cell>;
@if(moments) @group(0) @binding(4) var<storage, read_write> partials: array<vec2<f32>>;
@if(!moments) @group(0) @binding(5) var<storage, read> ratios: array<f32>;
@if(scaled) @group(0) @binding(6) var<storage, read> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;
// First update of each block, counted from 1; 0 for initial blocks.
@if(births) @group(0) @binding(9) var<storage, read> born: array<u32>;

// First update of the block of a cell, or 0 outside of blocks.
@if(births)
fn birth_of(i: u32) -> u32 {
    // The first range that ends behind the cell.
    let end = params.rows + params.range_count;
    var low = params.rows;
    var high = end;
    while low < high {
        let middle = (low + high) / 2u;
        if table[middle].y > i {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    if low == end || i < table[low].x {
        return 0u;
    }
    return born[table[low].w + ((i - table[low].x) >> table[low].z)];
}

// Bias corrections of both moments of a cell.
fn corrections_of(i: u32) -> vec2<f32> {
    var corrections = vec2<f32>(now.correction_1, now.correction_2);
    @if(births || scaled) {
        let ln_betas = vec2<f32>(params.ln_beta_1, params.ln_beta_2);
        var moves = now.moves;
        @if(scaled) {
            moves = loss_scale.taken;
            corrections = corrected(ln_betas, f32(moves));
        }
        @if(births) {
            let birth = birth_of(i);
            if birth > 0u {
                // A checkpoint from outside may claim a later birth; the age is at least 1.
                corrections = corrected(ln_betas, f32(max(moves, birth) + 1u - birth));
            }
        }
    }
    return corrections;
}

fn direction(i: u32, w: Cell, m: Cell, v: Cell, decay: f32) -> Cell {
    let corrections = corrections_of(i);
    return fma(Cell(decay), w, m * corrections.x / (sqrt(v * corrections.y) + params.epsilon));
}

@if(moments && quads)
fn square(x: Cell) -> f32 {
    return dot(x, x);
}

@if(moments && !quads)
fn square(x: Cell) -> f32 {
    return x * x;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = workgroup_index(id, count);
    if chunk >= params.chunks {
        return;
    }
    // A step that is skipped: the sums of the workgroup below allow no return here.
    var skipped = false;
    @if(scaled) {
        skipped = loss_scale.factor == 0.0;
    }
    let row = table[row_of(chunk, params.rows)];
    let decay = select(0.0, params.weight_decay, row.w % 2u == 1u);
    let start = row.x + (chunk - row.z) * CHUNK + local;
    @if(moments) {
        var squares = vec2<f32>();
        for (var e = 0u; e < EACH; e++) {
            let i = start + e * 64u;
            if i < row.y && !skipped {
                var g = grads[i];
                @if(scaled) {
                    g *= loss_scale.factor;
                }
                let m = fma(Cell(params.beta_1), first[i], (1.0 - params.beta_1) * g);
                let v = fma(Cell(params.beta_2), second[i], (1.0 - params.beta_2) * g * g);
                first[i] = m;
                second[i] = v;
                let w = values[i];
                squares += vec2<f32>(square(w), square(direction(i, w, m, v, decay)));
            }
        }
        let sum = sum_pairs(local, squares);
        if local == 0u {
            partials[params.first_chunk + chunk] = sum;
        }
    }
    @if(!moments) {
        let ratio = ratios[row.w / 2u];
        for (var e = 0u; e < EACH; e++) {
            let i = start + e * 64u;
            if i < row.y && !skipped {
                let w = values[i];
                let r = direction(i, w, first[i], second[i], decay);
                values[i] = fma(Cell(-now.learning_rate * ratio), r, w);
            }
        }
    }
}
