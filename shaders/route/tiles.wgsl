// Tiles and slots of each expert, in expert order: assignments beyond the capacity of the buffers are dropped.
import package::common::rank::{rank, rank_total, WIDTH};
import package::common::topology::{NNZ, ROW_PTR, COL_PTR};

struct Params {
    experts: u32,
    block: u32,
    // Capacity in tiles, block columns and slots.
    row_blocks: u32,
    col_blocks: u32,
    slots: u32,
}

// Load of each expert: all assignments, and those that passed the capacity selection.
@group(0) @binding(0) var<storage, read> load: array<u32>;
@group(0) @binding(1) var<storage, read> kept: array<u32>;
@group(0) @binding(2) var<storage, read_write> pattern: array<u32>;
@group(0) @binding(3) var<storage, read> first_column: array<u32>;
@group(0) @binding(4) var<storage, read_write> first_tile: array<u32>;
@group(0) @binding(5) var<storage, read_write> first_slot: array<u32>;
@group(0) @binding(6) var<storage, read_write> counts: array<u32>;
@group(0) @binding(8) var<storage, read_write> dropped: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

// Units left of `most` after `before` of them.
fn remaining(most: u32, before: u32) -> u32 {
    return most - min(before, most);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    // Running totals: requested and granted.
    var tiles_requested = 0u;
    var slots_requested = 0u;
    var tiles_granted = 0u;
    var slots_granted = 0u;
    for (var base = 0u; base < params.experts; base += WIDTH) {
        let expert = base + local;
        let is_one = expert < params.experts;
        var assigned = 0u;
        var width = 0u;
        if is_one {
            assigned = kept[expert];
            width = first_column[expert + 1u] - first_column[expert];
        }
        var tiles = (assigned + params.block - 1u) / params.block;
        let tiles_before = tiles_requested + rank(local, tiles);
        tiles_requested += rank_total();
        let slots_before = slots_requested + rank(local, tiles * width);
        slots_requested += rank_total();
        tiles = min(tiles, remaining(params.row_blocks, tiles_before));
        tiles = min(tiles, remaining(params.slots, slots_before) / max(width, 1u));

        let tile = tiles_granted + rank(local, tiles);
        tiles_granted += rank_total();
        let slot = slots_granted + rank(local, tiles * width);
        slots_granted += rank_total();
        if is_one {
            first_tile[expert] = tile;
            first_slot[expert] = slot;
            counts[expert] = min(assigned, tiles * params.block);
            dropped[expert] = load[expert] - min(assigned, tiles * params.block);
        }
    }
    if local == 0u {
        first_tile[params.experts] = tiles_granted;
        first_slot[params.experts] = slots_granted;
        pattern[NNZ] = slots_granted;
        pattern[pattern[ROW_PTR] + params.row_blocks] = slots_granted;
        pattern[pattern[COL_PTR] + params.col_blocks] = slots_granted;
    }
}
