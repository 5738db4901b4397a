// Dynamic loss scaling: decides whether the step counts, and sets the next scale: halved after a non-finite gradient,
// doubled after `patience` finite steps that updated weights.
import package::common::loss_scale::LossScale;

struct Params {
    patience: u32,
    // 1 if the optimizer updates weights in this step, 0 if a topology update takes its place.
    moves: u32,
    least: f32,
    most: f32,
}

@group(0) @binding(0) var<storage, read_write> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
    let scale = loss_scale.scale;
    if loss_scale.found != 0u {
        loss_scale.found = 0u;
        loss_scale.factor = 0.0;
        loss_scale.calm = 0u;
        loss_scale.skipped += 1u;
        loss_scale.scale = max(scale * 0.5, params.least);
        return;
    }
    loss_scale.factor = 1.0 / scale;
    loss_scale.taken += params.moves;
    loss_scale.calm += params.moves;
    if loss_scale.calm >= params.patience {
        loss_scale.calm = 0u;
        loss_scale.scale = min(scale * 2.0, params.most);
    }
}
