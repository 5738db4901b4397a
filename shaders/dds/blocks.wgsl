// The sparse right operand, as both variants of DDS read it.
import package::common::matmul::{rhs4, Piece};
import package::common::topology::{Line, row_line, col_line};
import package::constants::BLOCK;

// The blocks that a column of blocks of op(S) has: a column of S, or a row where S is stored transposed.
@if(!rhs_t)
fn line_of(column: u32) -> Line {
    return col_line(column);
}
@if(rhs_t)
fn line_of(column: u32) -> Line {
    return row_line(column);
}

// Contraction indices k.. and columns j.. within a block of op(S).
@if(!rhs_t)
fn block_piece(slot: u32, k: u32, j: u32) -> Piece {
    let at = (slot * BLOCK + k) * BLOCK + j;
    return Piece(rhs4(at), rhs4(at + BLOCK), rhs4(at + 2u * BLOCK), rhs4(at + 3u * BLOCK));
}
@if(rhs_t)
fn block_piece(slot: u32, k: u32, j: u32) -> Piece {
    let at = (slot * BLOCK + j) * BLOCK + k;
    return transpose(Piece(rhs4(at), rhs4(at + BLOCK), rhs4(at + 2u * BLOCK), rhs4(at + 3u * BLOCK)));
}
