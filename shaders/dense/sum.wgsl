// Second pass of a split dense product: out = the sum of the partial sums of all segments, in ascending order, then the
// epilogue.
import package::common::grid::workgroup_index;
import package::common::matmul::params;
import package::common::epilogue::{store4, bias4};

// `[k, m, n]`: `k` is the number of segments.
@if(!out_scalar) @group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;
@if(out_scalar) @group(0) @binding(0) var<storage, read> partials: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = (params.n + 3u) / 4u;
    let index = workgroup_index(id, count) * 64u + lane;
    let row = index / across;
    let column = index % across * 4u;
    if row >= params.m {
        return;
    }
    var sum = partial4(row, column);
    for (var segment = 1u; segment < params.k; segment++) {
        sum += partial4(segment * params.m + row, column);
    }
    store4(row, column, sum, bias4(column));
}

fn partial4(row: u32, column: u32) -> vec4<f32> {
    let at = row * params.n + column;
    @if(!out_scalar) {
        return partials[at / 4u];
    }
    @if(out_scalar) {
        // Elements past the row are not stored.
        let last = params.k * params.m * params.n - 1u;
        return vec4<f32>(
            partials[at], partials[min(at + 1u, last)], partials[min(at + 2u, last)], partials[min(at + 3u, last)],
        );
    }
}
