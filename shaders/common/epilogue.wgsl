// Epilogue of the matmuls: applied to the accumulators before they are stored.
//
//   bias       out = sum + bias
//   forward    pre = sum + bias,  out = dropout(activation(pre))
//   backward   out = sum * activation'(pre), through the same dropout
//
// The backward epilogue reads the pre-activation and the step; it regenerates the dropout mask. Where the sign of the
// output determines the derivative, the host binds the output as `pre`, and the forward epilogue stores no
// pre-activation.
import package::common::matmul::params;
import package::common::activation::{activate, derivative};
import package::common::dropout::kept;
import package::common::half::{Out, Out4, stored, stored4_of};

// Rows of partial sums before those of the workgroup's segment.
@if(split) var<private> partial_row: u32;

@if(!out_scalar) @group(0) @binding(2) var<storage, read_write> out: array<Out4>;
@if(out_scalar) @group(0) @binding(2) var<storage, read_write> out: array<Out>;

@if((bias || forward) && !out_scalar) @group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@if((bias || forward) && out_scalar) @group(0) @binding(3) var<storage, read> bias: array<f32>;

@if(forward && pre && !out_scalar) @group(0) @binding(4) var<storage, read_write> pre: array<Out4>;
@if(forward && pre && out_scalar) @group(0) @binding(4) var<storage, read_write> pre: array<Out>;
@if(backward && !out_scalar) @group(0) @binding(4) var<storage, read> pre: array<Out4>;
@if(backward && out_scalar) @group(0) @binding(4) var<storage, read> pre: array<Out>;

// Applies the epilogue to four consecutive elements of a row and stores those within the product. `shift` is
// `bias4(column)`, which callers with several rows load once.
fn store4(row: u32, column: u32, sum: vec4<f32>, shift: vec4<f32>) {
    if row >= params.m || column >= params.n {
        return;
    }
    let index = out_at(row, column);
    let element = elements_before() + index;

    @if(!out_scalar) {
        @if(!bias && !forward && !backward) {
            out[index / 4u] = stored4_of(sum);
        }
        @if(bias) {
            out[index / 4u] = stored4_of(sum + shift);
        }
        @if(forward) {
            let x = sum + shift;
            @if(pre) {
                pre[index / 4u] = stored4_of(x);
            }
            out[index / 4u] = stored4_of(vec4<f32>(
                outward(x.x, element), outward(x.y, element + 1u), outward(x.z, element + 2u), outward(x.w, element + 3u),
            ));
        }
        @if(backward) {
            let x = vec4<f32>(pre[index / 4u]);
            out[index / 4u] = stored4_of(sum * vec4<f32>(
                inward(x.x, element), inward(x.y, element + 1u), inward(x.z, element + 2u), inward(x.w, element + 3u),
            ));
        }
    }
    @if(out_scalar) {
        let count = min(4u, params.n - column);
        for (var c = 0u; c < count; c++) {
            let at = index + c;
            @if(!bias && !forward && !backward) {
                out[at] = stored(sum[c]);
            }
            @if(bias) {
                out[at] = stored(sum[c] + shift[c]);
            }
            @if(forward) {
                let x = sum[c] + shift[c];
                @if(pre) {
                    pre[at] = stored(x);
                }
                out[at] = stored(outward(x, element + c));
            }
            @if(backward) {
                out[at] = stored(sum[c] * inward(f32(pre[at]), element + c));
            }
        }
    }
}

// Partial sums of four elements from an earlier window of the contraction.
@if(continued)
fn stored4(row: u32, column: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    if row < params.m && column < params.n {
        let index = out_at(row, column);
        @if(!out_scalar) {
            sum = vec4<f32>(out[index / 4u]);
        }
        @if(out_scalar) {
            let count = min(4u, params.n - column);
            for (var c = 0u; c < count; c++) {
                sum[c] = f32(out[index + c]);
            }
        }
    }
    return sum;
}

fn out_at(row: u32, column: u32) -> u32 {
    @if(window) {
        return params.out_first + row * params.out_stride + column;
    }
    @if(split) {
        return (partial_row + row) * params.n + column;
    }
    @if(!window && !split) {
        return row * params.n + column;
    }
}

// Elements of the whole product before the bound window: dropout draws are indexed by the element's position in the
// whole product.
fn elements_before() -> u32 {
    @if(window) {
        return params.out_before;
    }
    @if(!window) {
        return 0u;
    }
}

@if(bias || forward)
fn bias_at(column: u32) -> u32 {
    @if(window) {
        return params.out_column + column;
    }
    @if(!window) {
        return column;
    }
}

// Bias of four consecutive columns, 0 without a bias. Columns past the end repeat the last one and are never stored.
fn bias4(column: u32) -> vec4<f32> {
    @if(!bias && !forward) {
        return vec4<f32>();
    }
    @if((bias || forward) && !out_scalar) {
        return bias[bias_at(min(column, params.n - 4u)) / 4u];
    }
    @if((bias || forward) && out_scalar) {
        let last = params.n - 1u;
        return vec4<f32>(
            bias[bias_at(min(column, last))], bias[bias_at(min(column + 1u, last))],
            bias[bias_at(min(column + 2u, last))], bias[bias_at(min(column + 3u, last))],
        );
    }
}

@if(forward || backward)
fn keep(element: u32) -> f32 {
    @if(dropout) {
        return kept(vec2<u32>(params.dropout_key_0, params.dropout_key_1), params.dropout_rate, element);
    }
    @if(!dropout) {
        return 1.0;
    }
}

@if(forward)
fn outward(x: f32, element: u32) -> f32 {
    return activate(x, params.slope) * keep(element);
}

@if(backward)
fn inward(x: f32, element: u32) -> f32 {
    return derivative(x, params.slope) * keep(element);
}
