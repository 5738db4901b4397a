// The rows of the grid and then its columns, as the kernels that rebuild the index walk them.
import package::common::topology::{ABSENT, ROW_BLOCKS, COL_BLOCKS, ROW_PTR, BY_ROW, COL_PTR, BY_COL};

@group(0) @binding(2) var<storage, read_write> pattern: array<u32>;
// The slot of each place in the grid.
@group(0) @binding(3) var<storage, read> map: array<u32>;
// Blocks that do not rest.
@if(resting) @group(0) @binding(4) var<storage, read> awake: array<u32>;

struct Line {
    // Places in the grid: first, first + stride, ... as many as the length; none past the last line.
    first: u32,
    stride: u32,
    length: u32,
    // Where its pointer stands, and where the slots that pointers count from.
    pointer: u32,
    slots: u32,
}

fn line_of(index: u32) -> Line {
    let rows = pattern[ROW_BLOCKS];
    let cols = pattern[COL_BLOCKS];
    if index < rows {
        return Line(index * cols, 1u, cols, pattern[ROW_PTR] + index, pattern[BY_ROW]);
    }
    if index < rows + cols {
        return Line(index - rows, cols, rows, pattern[COL_PTR] + index - rows, pattern[BY_COL]);
    }
    return Line();
}

// Whether the block at a place is part of the matrix.
fn stands(place: u32) -> bool {
    @if(!resting) {
        return map[place] != ABSENT;
    }
    @if(resting) {
        return map[place] != ABSENT && ((awake[place / 32u] >> (place % 32u)) & 1u) == 1u;
    }
}
