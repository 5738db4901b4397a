// Zeroes the padding of blocks: elements in rows or columns of the matrix that do not count.
import package::common::grid::workgroup_index;
import package::common::topology::{slot_col, slot_row};
import package::constants::BLOCK;

struct Params {
    n: u32,
    // Index of the window's first slot.
    first: u32,
    // Words of the rows' bits, which those of the columns follow.
    row_words: u32,
}

@group(0) @binding(0) var<storage, read_write> values: array<f32>;
// A bit for each row, and for each column: 1 for those that count.
@group(0) @binding(1) var<storage, read> counted: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i >= params.n {
        return;
    }
    let slot = params.first + i / (BLOCK * BLOCK);
    let row = slot_row(slot) * BLOCK + i / BLOCK % BLOCK;
    let col = slot_col(slot) * BLOCK + i % BLOCK;
    if !(counts(0u, row) && counts(params.row_words, col)) {
        values[i] = 0.0;
    }
}

fn counts(first: u32, line: u32) -> bool {
    return ((counted[first + line / 32u] >> (line % 32u)) & 1u) == 1u;
}
