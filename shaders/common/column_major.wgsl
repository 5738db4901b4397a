// Column-major micro-tiles: the accumulators hold 8 columns by a vector of four rows.
import package::common::matmul::{Piece, Tile};
import package::common::epilogue::{store4, bias4};
@if(continued)
import package::common::epilogue::stored4;

// Column-major store: transposes a micro-tile and stores rows i..i + 3 of columns j..j + 7.
fn store_column_major(i: u32, j: u32, tile: Tile) {
    let first = transpose(Piece(tile[0], tile[1], tile[2], tile[3]));
    let last = transpose(Piece(tile[4], tile[5], tile[6], tile[7]));
    let first_bias = bias4(j);
    let last_bias = bias4(j + 4u);
    for (var row = 0u; row < 4u; row++) {
        store4(i + row, j, first[row], first_bias);
        store4(i + row, j + 4u, last[row], last_bias);
    }
}

// Column-major load of the partial sums from an earlier window of the contraction.
@if(continued)
fn load_column_major(i: u32, j: u32) -> Tile {
    let first = transpose(Piece(stored4(i, j), stored4(i + 1u, j), stored4(i + 2u, j), stored4(i + 3u, j)));
    let last = transpose(Piece(
        stored4(i, j + 4u), stored4(i + 1u, j + 4u), stored4(i + 2u, j + 4u), stored4(i + 3u, j + 4u),
    ));
    return Tile(first[0], first[1], first[2], first[3], last[0], last[1], last[2], last[3]);
}
