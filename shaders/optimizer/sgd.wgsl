// Stochastic gradient descent with momentum in PyTorch's conventions, and decoupled weight decay.
//
//   velocity = momentum * velocity + grad
//   value    = (1 - rate * decay) * value - rate * (nesterov ? grad + momentum * velocity : velocity)
import package::common::grid::workgroup_index;
import package::common::step::now;
@if(scaled)
import package::common::loss_scale::LossScale;

struct Params {
    n: u32,
    // Cells, from the first, that weight decay applies to.
    decaying: u32,
    momentum: f32,
    weight_decay: f32,
}

// One element, or a vec4 where four divides the length; `n` counts these.
@if(!quads) alias Cell = f32;
@if(quads) alias Cell = vec4<f32>;

@group(0) @binding(0) var<storage, read_write> values: array<Cell>;
@group(0) @binding(1) var<storage, read> grads: array<Cell>;
@group(0) @binding(2) var<storage, read_write> velocity: array<Cell>;
@if(mask) @group(0) @binding(5) var<storage, read> mask: array<u32>;
@if(scaled) @group(0) @binding(6) var<storage, read> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;

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
    var g = grads[i];
    @if(scaled) {
        if loss_scale.factor == 0.0 {
            return;
        }
        g *= loss_scale.factor;
    }
    @if(mask) {
        if ((mask[i / 32u] >> (i % 32u)) & 1u) == 0u {
            values[i] = 0.0;
            return;
        }
    }
    let v = fma(Cell(params.momentum), velocity[i], g);
    velocity[i] = v;
    var direction = v;
    @if(nesterov) {
        direction = fma(Cell(params.momentum), v, g);
    }
    let decay = select(0.0, params.weight_decay, i < params.decaying);
    let decayed = values[i] * (1.0 - now.learning_rate * decay);
    values[i] = fma(Cell(-now.learning_rate), direction, decayed);
}
