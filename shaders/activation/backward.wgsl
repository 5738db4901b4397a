// Backward pass of activation and dropout: out = grad * activation'(pre) * dropout factor, elementwise.
import package::common::grid::workgroup_index;
import package::common::activation::derivative;
import package::common::dropout::kept;
import package::common::half::{Out, stored};

struct Params {
    n: u32,
    slope: f32,
    dropout_rate: f32,
    dropout_key_0: u32,
    dropout_key_1: u32,
    // Index of the window's first element in the whole tensor.
    @if(window)
    first: u32,
}

@if(half) @group(0) @binding(0) var<storage, read> grad: array<f16>;
@if(!half) @group(0) @binding(0) var<storage, read> grad: array<f32>;
@if(half) @group(0) @binding(1) var<storage, read> pre: array<f16>;
@if(!half) @group(0) @binding(1) var<storage, read> pre: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<Out>;
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
    var x = f32(grad[i]) * derivative(f32(pre[i]), params.slope);
    @if(dropout) {
        var element = i;
        @if(window) {
            element += params.first;
        }
        x *= kept(vec2<u32>(params.dropout_key_0, params.dropout_key_1), params.dropout_rate, element);
    }
    out[i] = stored(x);
}
