// Packed topology; src/sparse/topology.rs defines, writes and validates the format.
@group(0) @binding(6) var<storage, read> topology: array<u32>;

// Null slot: the value of a slot map at blocks that are not stored.
const ABSENT = 0xFFFFFFFFu;

const ROW_BLOCKS = 1u;
const COL_BLOCKS = 2u;
const NNZ = 4u;
const ROW_PTR = 5u;
const BY_ROW = 6u;
const COL_PTR = 7u;
const BY_COL = 8u;
const SLOT_ROW = 9u;
const SLOT_COL = 10u;

fn nnz() -> u32 {
    return topology[NNZ];
}

fn slot_row(slot: u32) -> u32 {
    return topology[topology[SLOT_ROW] + slot];
}

fn slot_col(slot: u32) -> u32 {
    return topology[topology[SLOT_COL] + slot];
}

// Row-major index of a slot's block in the grid.
fn slot_place(slot: u32) -> u32 {
    return slot_row(slot) * topology[COL_BLOCKS] + slot_col(slot);
}

// Blocks of one row or one column of the grid: entries begin..end. Each entry has a slot and a position across the
// line; positions ascend.
struct Line {
    begin: u32,
    end: u32,
    slots: u32,
    places: u32,
}

fn row_line(row: u32) -> Line {
    let at = topology[ROW_PTR] + row;
    return Line(topology[at], topology[at + 1u], topology[BY_ROW], topology[SLOT_COL]);
}

fn col_line(col: u32) -> Line {
    let at = topology[COL_PTR] + col;
    return Line(topology[at], topology[at + 1u], topology[BY_COL], topology[SLOT_ROW]);
}

fn line_slot(line: Line, entry: u32) -> u32 {
    return topology[line.slots + entry];
}

fn line_place(line: Line, slot: u32) -> u32 {
    return topology[line.places + slot];
}
