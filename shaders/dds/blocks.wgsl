// The sparse right operand, as both variants of DDS read it.
import package::common::matmul::{rhs4, Piece};
@if(window)
import package::common::matmul::params;
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

// Whether the bound window of the values has a slot.
@if(window)
fn is_bound(slot: u32) -> bool {
    return slot >= params.first_slot && slot - params.first_slot < params.slots;
}

// Where a slot's block begins among the values that are bound, in rows of blocks.
fn first_row(slot: u32) -> u32 {
    @if(window) {
        return (slot - params.first_slot) * BLOCK;
    }
    @if(!window) {
        return slot * BLOCK;
    }
}

// Contraction indices k.. and columns j.. within a block of op(S).
@if(!rhs_t)
fn block_piece(slot: u32, k: u32, j: u32) -> Piece {
    let at = (first_row(slot) + k) * BLOCK + j;
    return Piece(rhs4(at), rhs4(at + BLOCK), rhs4(at + 2u * BLOCK), rhs4(at + 3u * BLOCK));
}
@if(rhs_t)
fn block_piece(slot: u32, k: u32, j: u32) -> Piece {
    let at = (first_row(slot) + j) * BLOCK + k;
    return transpose(Piece(rhs4(at), rhs4(at + BLOCK), rhs4(at + 2u * BLOCK), rhs4(at + 3u * BLOCK)));
}
