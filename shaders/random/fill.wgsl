// Random numbers: element i at step s is drawn at counter (i, s).
import package::common::grid::workgroup_index;
import package::common::random::{threefry, unit};
import package::common::step::now;

struct Params {
    n: u32,
    key_0: u32,
    key_1: u32,
    // Index of the window's first element in the whole tensor.
    @if(window)
    first: u32,
}

@if(uniform) @group(0) @binding(0) var<storage, read_write> out: array<f32>;
@if(!uniform) @group(0) @binding(0) var<storage, read_write> out: array<u32>;
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
    var element = i;
    @if(window) {
        element += params.first;
    }
    let bits = threefry(vec2<u32>(params.key_0, params.key_1), vec2<u32>(element, now.index)).x;
    @if(uniform) {
        out[i] = unit(bits);
    }
    @if(!uniform) {
        out[i] = bits;
    }
}
