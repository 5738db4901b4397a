// Block-sparse right operand S of DDS: block walk and 4 x 4 fragments, shared by the variants.
import package::common::matmul::{rhs4, Piece};
@if(window)
import package::common::matmul::params;
import package::common::topology::{Line, row_line, col_line};
import package::constants::BLOCK;

// Blocks in one block column of op(S): a column of S, or a row where S is stored transposed.
@if(!rhs_t)
fn line_of(column: u32) -> Line {
    return col_line(column);
}
@if(rhs_t)
fn line_of(column: u32) -> Line {
    return row_line(column);
}

// Whether a slot lies in the bound window of the values.
@if(window)
fn is_bound(slot: u32) -> bool {
    return slot >= params.first_slot && slot - params.first_slot < params.slots;
}

// Row offset of a slot's block in the bound values, which are `[slots * BLOCK, BLOCK]`.
fn first_row(slot: u32) -> u32 {
    @if(window) {
        return (slot - params.first_slot) * BLOCK;
    }
    @if(!window) {
        return slot * BLOCK;
    }
}

// Fragment of a block of op(S) at contraction indices k..k + 3 and columns j..j + 3.
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
