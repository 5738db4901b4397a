// Reduction of micro-tiles to one score per block, in one order for all variants: top to bottom within four columns,
// then the column groups from left to right.
import package::common::matmul::Tile;

@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// Inverse norms of the columns of both operands.
@if(cosine) @group(0) @binding(3) var<storage, read> lhs_scale: array<f32>;
@if(cosine) @group(0) @binding(4) var<storage, read> rhs_scale: array<f32>;

// Partial score of an 8 x 4 micro-tile at row i and column j of the product.
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
    // The score of a signed sum is its magnitude.
    out[place] = abs(sum);
}
