// Lion with decoupled weight decay, element by element:
//
//   value    = (1 - rate * decay) * value - rate * sign(beta_1 * momentum + (1 - beta_1) * grad)
//   momentum = beta_2 * momentum + (1 - beta_2) * grad
import package::common::grid::workgroup_index;
import package::common::step::now;
@if(scaled)
import package::common::loss_scale::LossScale;

struct Params {
    n: u32,
    // Elements, from the first, that weight decay applies to.
    decaying: u32,
    beta_1: f32,
    beta_2: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<storage, read_write> values: array<f32>;
@group(0) @binding(1) var<storage, read> grads: array<f32>;
@group(0) @binding(2) var<storage, read_write> momentum: array<f32>;
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
    var grad = grads[i];
    // Gradients are scaled in half precision, and a step in which one is not finite has the factor 0.
    @if(scaled) {
        if loss_scale.factor == 0.0 {
            return;
        }
        grad *= loss_scale.factor;
    }
    let direction = sign(mix(grad, momentum[i], params.beta_1));
    momentum[i] = mix(grad, momentum[i], params.beta_2);
    let decay = select(0.0, params.weight_decay, i < params.decaying);
    let decayed = values[i] * (1.0 - now.learning_rate * decay);
    values[i] = decayed - now.learning_rate * direction;
}
