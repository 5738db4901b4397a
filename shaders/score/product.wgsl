// How all variants of the score-only product reduce what they hold in registers to one number per block, in one order:
// four columns of a block from top to bottom, then from left to right.
import package::common::matmul::Tile;

@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// 1 / the norms of the columns of both operands.
@if(cosine) @group(0) @binding(3) var<storage, read> lhs_scale: array<f32>;
@if(cosine) @group(0) @binding(4) var<storage, read> rhs_scale: array<f32>;

// Of 8 x 4 elements of the product, those at row i and column j.
fn reduced(tile: ptr<function, Tile>, i: u32, j: u32) -> f32 {
    var sum = vec4<f32>();
    for (var row = 0u; row < 8u; row++) {
        let t = (*tile)[row];
        @if(cosine) {
            let scale = vec4<f32>(rhs_scale[j], rhs_scale[j + 1u], rhs_scale[j + 2u], rhs_scale[j + 3u]);
            sum += abs(t * lhs_scale[i + row] * scale);
        }
        @if(square) {
            sum += t * t;
        }
        @if(signed) {
            sum += t;
        }
        @if(!cosine && !square && !signed) {
            sum += abs(t);
        }
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

fn store_score(place: u32, sum: f32) {
    // Of a signed sum it is the magnitude that counts.
    out[place] = abs(sum);
}
