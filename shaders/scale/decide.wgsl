// Dynamic loss scaling: decides whether the step counts, and sets the next scale: halved after a non-finite gradient,
// doubled after `patience` finite steps that updated weights.
import package::common::loss_scale::LossScale;

struct Params {
    patience: u32,
    // 1 if the optimizer updates weights in this step, 0 if a topology update takes its place.
    moves: u32,
    least: f32,
    most: f32,
    // Elements of `x`.
    @if(watched)
    n: u32,
}

@group(0) @binding(0) var<storage, read_write> loss_scale: LossScale;
// The last gradients that are watched; others have been scanned before.
@if(watched) @group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@if(!watched) const LANES = 1u;
@if(watched) const LANES = 256u;
@if(watched) const EXPONENT = 0x7F800000u;
@if(watched) var<workgroup> bad: atomic<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) local: u32) {
    var found = loss_scale.found;
    @if(watched) {
        if local == 0u {
            atomicStore(&bad, 0u);
        }
        workgroupBarrier();
        var any = false;
        for (var i = local; i < params.n; i += LANES) {
            any = any || (bitcast<u32>(x[i]) & EXPONENT) == EXPONENT;
        }
        if any {
            atomicStore(&bad, 1u);
        }
        workgroupBarrier();
        found |= atomicLoad(&bad);
    }
    if local > 0u {
        return;
    }
    let scale = loss_scale.scale;
    if found != 0u {
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
