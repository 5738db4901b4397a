// Block-sparse left operand S of DSD: block walk and fragments, shared by the variants.
import package::common::matmul::{lhs4, Piece};
import package::common::wave::{Octet, octet_of_rows, octet_of_columns};
import package::common::topology::{Line, row_line, col_line};
import package::constants::BLOCK;

// Blocks in one block row of op(S): a row of S, or a column where S is stored transposed.
@if(!lhs_t)
fn line_of(row: u32) -> Line {
    return row_line(row);
}
@if(lhs_t)
fn line_of(row: u32) -> Line {
    return col_line(row);
}

// Fragment of a block of op(S) at rows i..i + 3 and contraction indices k..k + 3.
@if(!lhs_t)
fn block_piece(slot: u32, i: u32, k: u32) -> Piece {
    let at = (slot * BLOCK + i) * BLOCK + k;
    return transpose(Piece(lhs4(at), lhs4(at + BLOCK), lhs4(at + 2u * BLOCK), lhs4(at + 3u * BLOCK)));
}
@if(lhs_t)
fn block_piece(slot: u32, i: u32, k: u32) -> Piece {
    let at = (slot * BLOCK + k) * BLOCK + i;
    return Piece(lhs4(at), lhs4(at + BLOCK), lhs4(at + 2u * BLOCK), lhs4(at + 3u * BLOCK));
}

// Rows i..i + 7 of a block of op(S), uniform over a subgroup of eight, each lane of which loads an eighth.
@if(!lhs_t)
fn block_octet(slot: u32, i: u32, k: u32, lane: u32) -> Octet {
    return octet_of_rows(lhs4((slot * BLOCK + i + lane) * BLOCK + k));
}
@if(lhs_t)
fn block_octet(slot: u32, i: u32, k: u32, lane: u32) -> Octet {
    return octet_of_columns(lhs4((slot * BLOCK + k + lane / 2u) * BLOCK + i + lane % 2u * 4u));
}
