// AdamW (Loshchilov and Hutter) in PyTorch's conventions. The host computes the bias corrections from the number of
// weight updates. Blocks grown later have their own corrections, because their moments start at their birth; an old
// block's corrections would make their first steps up to six times too large. With loss scaling, steps may be
// skipped, and the device counts the updates.
import package::common::grid::workgroup_index;
import package::common::step::now;
@if(scaled)
import package::common::loss_scale::LossScale;
@if(births || scaled)
import package::common::moments::corrected;

struct Params {
    n: u32,
    // Cells, from the first, that weight decay applies to.
    decaying: u32,
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    weight_decay: f32,
    @if(births || scaled)
    ln_beta_1: f32,
    @if(births || scaled)
    ln_beta_2: f32,
    @if(births)
    range_count: u32,
}

// Blocks of a matrix among the cells, in ascending order.
@if(births)
struct Range {
    first: u32,
    end: u32,
    // Binary logarithm of the cells per block.
    shift: u32,
    // Word of the first block in `born`.
    word: u32,
}

// One element, or a vec4 where four divides the length; `n` counts these.
@if(!quads) alias Cell = f32;
@if(quads) alias Cell = vec4<f32>;

@group(0) @binding(0) var<storage, read_write> values: array<Cell>;
@group(0) @binding(1) var<storage, read> grads: array<Cell>;
@group(0) @binding(2) var<storage, read_write> first: array<Cell>;
@group(0) @binding(3) var<storage, read_write> second: array<Cell>;
// First update of each block, counted from 1; 0 for initial blocks.
@if(births) @group(0) @binding(4) var<storage, read> born: array<u32>;
@if(births) @group(0) @binding(9) var<storage, read> ranges: array<Range>;
@if(mask) @group(0) @binding(5) var<storage, read> mask: array<u32>;
@if(scaled) @group(0) @binding(6) var<storage, read> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;

// First update of the block of a cell, or 0 outside of blocks.
@if(births)
fn birth_of(i: u32) -> u32 {
    // The first range that ends behind the cell.
    var low = 0u;
    var high = params.range_count;
    while low < high {
        let middle = (low + high) / 2u;
        if ranges[middle].end > i {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    if low == params.range_count || i < ranges[low].first {
        return 0u;
    }
    return born[ranges[low].word + ((i - ranges[low].first) >> ranges[low].shift)];
}

@if(births || scaled)
fn ln_betas() -> vec2<f32> {
    return vec2<f32>(params.ln_beta_1, params.ln_beta_2);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i >= params.n {
        return;
    }
    @if(scaled) {
        if loss_scale.factor == 0.0 {
            return;
        }
    }
    @if(mask) {
        if ((mask[i / 32u] >> (i % 32u)) & 1u) == 0u {
            values[i] = 0.0;
            return;
        }
    }
    var g = grads[i];
    @if(scaled) {
        g *= loss_scale.factor;
    }
    let m = fma(Cell(params.beta_1), first[i], (1.0 - params.beta_1) * g);
    let v = fma(Cell(params.beta_2), second[i], (1.0 - params.beta_2) * g * g);
    first[i] = m;
    second[i] = v;
    let decay = select(0.0, params.weight_decay, i < params.decaying);
    let decayed = values[i] * (1.0 - now.learning_rate * decay);
    var corrections = vec2<f32>(now.correction_1, now.correction_2);
    var moves = now.moves;
    @if(scaled) {
        moves = loss_scale.taken;
        corrections = corrected(ln_betas(), f32(moves));
    }
    @if(births) {
        let birth = birth_of(i);
        if birth > 0u {
            // A checkpoint from outside may claim a later birth; the age is at least 1.
            corrections = corrected(ln_betas(), f32(max(moves, birth) + 1u - birth));
        }
    }
    let direction = m * corrections.x / (sqrt(v * corrections.y) + params.epsilon);
    values[i] = fma(Cell(-now.learning_rate), direction, decayed);
}
