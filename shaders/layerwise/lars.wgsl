// LARS (You, Gitman and Ginsburg 2017): momentum, with the gradient of each parameter scaled by its trust ratio.
//
//   velocity = momentum * velocity + ratio * (grad + decay * value)
//   value    = value - rate * velocity
import package::common::grid::workgroup_index;
import package::common::parameters::{table, row_of, CHUNK, EACH};
import package::common::step::now;
@if(scaled)
import package::common::loss_scale::LossScale;

struct Params {
    rows: u32,
    chunks: u32,
    momentum: f32,
    weight_decay: f32,
}

// One element, or a vec4 where four divides the offsets of all parameters.
@if(!quads) alias Cell = f32;
@if(quads) alias Cell = vec4<f32>;

@group(0) @binding(0) var<storage, read_write> values: array<Cell>;
@group(0) @binding(1) var<storage, read> grads: array<Cell>;
@group(0) @binding(2) var<storage, read_write> velocity: array<Cell>;
@group(0) @binding(5) var<storage, read> ratios: array<f32>;
@if(scaled) @group(0) @binding(6) var<storage, read> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;

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
    @if(scaled) {
        if loss_scale.factor == 0.0 {
            return;
        }
    }
    let row = table[row_of(chunk, params.rows)];
    let ratio = ratios[row.w / 2u];
    let decay = select(0.0, params.weight_decay, row.w % 2u == 1u);
    let first = row.x + (chunk - row.z) * CHUNK + local;
    for (var e = 0u; e < EACH; e++) {
        let i = first + e * 64u;
        if i < row.y {
            var g = grads[i];
            @if(scaled) {
                g *= loss_scale.factor;
            }
            let w = values[i];
            let v = fma(Cell(params.momentum), velocity[i], ratio * fma(Cell(decay), w, g));
            velocity[i] = v;
            values[i] = fma(Cell(-now.learning_rate), v, w);
        }
    }
}
