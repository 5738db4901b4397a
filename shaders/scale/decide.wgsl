// Whether the step counts, and the scale of the next: half where a gradient was not finite, twice after so many that all were.
import package::common::loss_scale::LossScale;

struct Params {
    patience: u32,
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
    loss_scale.taken += 1u;
    loss_scale.calm += 1u;
    if loss_scale.calm >= params.patience {
        loss_scale.calm = 0u;
        loss_scale.scale = min(scale * 2.0, params.most);
    }
}
