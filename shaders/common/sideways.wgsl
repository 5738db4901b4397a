// Column-major micro-tiles: the accumulators hold 8 columns by a vector of four rows.
import package::common::matmul::{Piece, Tile};
import package::common::epilogue::{store4, bias4};
@if(continued)
import package::common::epilogue::stored4;

// Column-major store: transposes a micro-tile and stores rows i..i + 3 of columns j..j + 7.
fn store_sideways(i: u32, j: u32, tile: Tile) {
    let near = transpose(Piece(tile[0], tile[1], tile[2], tile[3]));
    let far = transpose(Piece(tile[4], tile[5], tile[6], tile[7]));
    let near_bias = bias4(j);
    let far_bias = bias4(j + 4u);
    for (var row = 0u; row < 4u; row++) {
        store4(i + row, j, near[row], near_bias);
        store4(i + row, j + 4u, far[row], far_bias);
    }
}

// Column-major load of the partial sums from an earlier window of the contraction.
@if(continued)
fn stored_sideways(i: u32, j: u32) -> Tile {
    let near = transpose(Piece(stored4(i, j), stored4(i + 1u, j), stored4(i + 2u, j), stored4(i + 3u, j)));
    let far = transpose(Piece(
        stored4(i, j + 4u), stored4(i + 1u, j + 4u), stored4(i + 2u, j + 4u), stored4(i + 3u, j + 4u),
    ));
    return Tile(near[0], near[1], near[2], near[3], far[0], far[1], far[2], far[3]);
}
