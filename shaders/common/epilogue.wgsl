// What happens to an element of the product on its way out.
//
//   bias       out = sum + bias
//   forward    pre = sum + bias,  out = dropout(activation(pre))
//   backward   out = sum * activation'(pre), through the same dropout
//
// The backward epilogue needs the pre-activation and the step alone: the dropout mask is drawn again. Where the sign of the
// output tells the derivative, the host gives it the output for the pre-activation, and the forward epilogue stores no other.
import package::common::matmul::params;
import package::common::activation::{activate, derivative};
import package::common::dropout::kept;

@if(!out_scalar) @group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
@if(out_scalar) @group(0) @binding(2) var<storage, read_write> out: array<f32>;

@if((bias || forward) && !out_scalar) @group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@if((bias || forward) && out_scalar) @group(0) @binding(3) var<storage, read> bias: array<f32>;

@if(forward && pre && !out_scalar) @group(0) @binding(4) var<storage, read_write> pre: array<vec4<f32>>;
@if(forward && pre && out_scalar) @group(0) @binding(4) var<storage, read_write> pre: array<f32>;
@if(backward && !out_scalar) @group(0) @binding(4) var<storage, read> pre: array<vec4<f32>>;
@if(backward && out_scalar) @group(0) @binding(4) var<storage, read> pre: array<f32>;

// Stores four neighbours in a row of the product. Those outside it are left out. `shift` is `bias4` of the column, which a
// caller with several rows asks for once.
fn store4(row: u32, column: u32, sum: vec4<f32>, shift: vec4<f32>) {
    if row >= params.m || column >= params.n {
        return;
    }
    let index = out_at(row, column);
    let element = elements_before() + index;

    @if(!out_scalar) {
        @if(!bias && !forward && !backward) {
            out[index / 4u] = sum;
        }
        @if(bias) {
            out[index / 4u] = sum + shift;
        }
        @if(forward) {
            let x = sum + shift;
            @if(pre) {
                pre[index / 4u] = x;
            }
            out[index / 4u] = vec4<f32>(
                outward(x.x, element), outward(x.y, element + 1u), outward(x.z, element + 2u), outward(x.w, element + 3u),
            );
        }
        @if(backward) {
            let x = pre[index / 4u];
            out[index / 4u] = sum * vec4<f32>(
                inward(x.x, element), inward(x.y, element + 1u), inward(x.z, element + 2u), inward(x.w, element + 3u),
            );
        }
    }
    @if(out_scalar) {
        let count = min(4u, params.n - column);
        for (var c = 0u; c < count; c++) {
            let at = index + c;
            @if(!bias && !forward && !backward) {
                out[at] = sum[c];
            }
            @if(bias) {
                out[at] = sum[c] + shift[c];
            }
            @if(forward) {
                let x = sum[c] + shift[c];
                @if(pre) {
                    pre[at] = x;
                }
                out[at] = outward(x, element + c);
            }
            @if(backward) {
                out[at] = sum[c] * inward(pre[at], element + c);
            }
        }
    }
}

// What an earlier window of the contraction stored there.
@if(continued)
fn stored4(row: u32, column: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    if row < params.m && column < params.n {
        let index = out_at(row, column);
        @if(!out_scalar) {
            sum = out[index / 4u];
        }
        @if(out_scalar) {
            let count = min(4u, params.n - column);
            for (var c = 0u; c < count; c++) {
                sum[c] = out[index + c];
            }
        }
    }
    return sum;
}

fn out_at(row: u32, column: u32) -> u32 {
    @if(window) {
        return params.out_first + row * params.out_stride + column;
    }
    @if(!window) {
        return row * params.n + column;
    }
}

// Draws go by an element's place in the whole product.
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

// The bias of four neighbours, 0 where there is none. Columns past the end repeat the last; nobody stores them.
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
