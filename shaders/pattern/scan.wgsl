// Prefix sums of the row and column counts to pointers; zeroes the unused ends of the slot lists where blocks are
// inactive.
import package::common::rank::{rank, rank_total, WIDTH};
import package::common::topology::{ROW_PTR, BY_ROW, COL_PTR, BY_COL};

@group(0) @binding(2) var<storage, read_write> pattern: array<u32>;

struct Params {
    row_blocks: u32,
    col_blocks: u32,
    nnz: u32,
}

@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    for (var direction = 0u; direction < 2u; direction++) {
        let lines = select(params.row_blocks, params.col_blocks, direction == 1u);
        let pointers = pattern[select(ROW_PTR, COL_PTR, direction == 1u)];
        let entries = pattern[select(BY_ROW, BY_COL, direction == 1u)];
        var before = 0u;
        for (var base = 0u; base < lines; base += WIDTH) {
            let line = base + local;
            var count = 0u;
            if line < lines {
                count = pattern[pointers + line + 1u];
            }
            let sum = before + rank(local, count) + count;
            before += rank_total();
            if line < lines {
                pattern[pointers + line + 1u] = sum;
            }
        }
        if local == 0u {
            pattern[pointers] = 0u;
        }
        for (var entry = before + local; entry < params.nnz; entry += WIDTH) {
            pattern[entries + entry] = 0u;
        }
    }
}
