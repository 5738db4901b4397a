// Second packed topology: that of a block-sparse weight multiplied with a block-sparse operand. Accessors mirror
// common/topology.wgsl.
import package::common::topology::{Line, NNZ, ROW_PTR, BY_ROW, COL_PTR, BY_COL, SLOT_ROW, SLOT_COL};

@group(0) @binding(5) var<storage, read> weight: array<u32>;

fn weight_nnz() -> u32 {
    return weight[NNZ];
}

fn weight_row(slot: u32) -> u32 {
    return weight[weight[SLOT_ROW] + slot];
}

fn weight_col(slot: u32) -> u32 {
    return weight[weight[SLOT_COL] + slot];
}

fn weight_row_line(row: u32) -> Line {
    let at = weight[ROW_PTR] + row;
    return Line(weight[at], weight[at + 1u], weight[BY_ROW], weight[SLOT_COL]);
}

fn weight_col_line(col: u32) -> Line {
    let at = weight[COL_PTR] + col;
    return Line(weight[at], weight[at + 1u], weight[BY_COL], weight[SLOT_ROW]);
}

fn weight_slot(line: Line, entry: u32) -> u32 {
    return weight[line.slots + entry];
}

fn weight_place(line: Line, slot: u32) -> u32 {
    return weight[line.places + slot];
}
