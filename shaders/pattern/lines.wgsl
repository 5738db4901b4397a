// Rows and columns of the grid as lines, for the kernels that rebuild a pattern's index.
import package::common::topology::{ABSENT, ROW_BLOCKS, COL_BLOCKS, ROW_PTR, BY_ROW, COL_PTR, BY_COL};

@group(0) @binding(2) var<storage, read_write> pattern: array<u32>;
// Slot of each grid position.
@group(0) @binding(3) var<storage, read> map: array<u32>;
// Bit set of active blocks.
@if(inactive) @group(0) @binding(4) var<storage, read> active_blocks: array<u32>;

struct Line {
    // Grid positions first, first + stride, ...; length 0 for an index past the last line.
    first: u32,
    stride: u32,
    length: u32,
    // Offset of the line's pointer, and of the slot list that pointers index.
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

// Whether the block at a grid position is stored and active.
fn is_active(place: u32) -> bool {
    @if(!inactive) {
        return map[place] != ABSENT;
    }
    @if(inactive) {
        return map[place] != ABSENT && ((active_blocks[place / 32u] >> (place % 32u)) & 1u) == 1u;
    }
}
