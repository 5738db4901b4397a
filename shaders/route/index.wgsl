// Packed topology of a routing, and its row lists reset to ABSENT. One workgroup per row tile, then one per expert,
// which writes the expert's column pointers.
import package::common::grid::workgroup_index;
import package::common::topology::{ABSENT, ROW_BLOCKS, NNZ, ROW_PTR, BY_ROW, COL_PTR, BY_COL, SLOT_ROW, SLOT_COL};

struct Params {
    experts: u32,
    block: u32,
}

@group(0) @binding(0) var<storage, read> first_tile: array<u32>;
@group(0) @binding(1) var<storage, read> first_slot: array<u32>;
@group(0) @binding(2) var<storage, read_write> pattern: array<u32>;
@group(0) @binding(3) var<storage, read> first_column: array<u32>;
@group(0) @binding(4) var<storage, read_write> rows: array<u32>;
@group(0) @binding(5) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

const LANES = 32u;

// Binary search for the expert that owns a tile: the last one with first_tile <= tile.
fn owner(tile: u32) -> u32 {
    var low = 0u;
    var high = params.experts;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if first_tile[middle] <= tile {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup_index(id, count);
    let row_blocks = pattern[ROW_BLOCKS];
    if index >= row_blocks + params.experts {
        return;
    }
    if index >= row_blocks {
        let expert = index - row_blocks;
        let tiles = first_tile[expert + 1u] - first_tile[expert];
        let width = first_column[expert + 1u] - first_column[expert];
        let pointers = pattern[COL_PTR] + first_column[expert];
        for (var column = lane; column < width; column += LANES) {
            pattern[pointers + column] = first_slot[expert] + column * tiles;
        }
        return;
    }

    for (var row = lane; row < params.block; row += LANES) {
        rows[index * params.block + row] = ABSENT;
        tokens[index * params.block + row] = ABSENT;
    }
    let pointer = pattern[ROW_PTR] + index;
    if index >= first_tile[params.experts] {
        // Unused tile, past those of all experts.
        if lane == 0u {
            pattern[pointer] = pattern[NNZ];
        }
        return;
    }
    let expert = owner(index);
    let tile = index - first_tile[expert];
    let tiles = first_tile[expert + 1u] - first_tile[expert];
    let width = first_column[expert + 1u] - first_column[expert];
    let slots = first_slot[expert];
    if lane == 0u {
        pattern[pointer] = slots + tile * width;
    }
    let by_row = pattern[BY_ROW];
    let by_col = pattern[BY_COL];
    let slot_row = pattern[SLOT_ROW];
    let slot_col = pattern[SLOT_COL];
    for (var column = lane; column < width; column += LANES) {
        let slot = slots + tile * width + column;
        pattern[by_row + slot] = slot;
        pattern[by_col + slots + column * tiles + tile] = slot;
        pattern[slot_row + slot] = index;
        pattern[slot_col + slot] = first_column[expert] + column;
    }
}
