// Slots of a pattern from a bit set of blocks, in grid order. Bits past the last grid position, and members past the
// last slot, are ignored.
import package::common::rank::{rank, rank_total, WIDTH};
import package::common::set::in_grid;
import package::common::topology::{COL_BLOCKS, NNZ, SLOT_ROW, SLOT_COL};

struct Params {
    n: u32,
    places: u32,
}

@group(0) @binding(0) var<storage, read> members: array<u32>;
@group(0) @binding(2) var<storage, read_write> pattern: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    let across = pattern[COL_BLOCKS];
    let rows = pattern[SLOT_ROW];
    let cols = pattern[SLOT_COL];
    var before = 0u;
    for (var base = 0u; base < params.n; base += WIDTH) {
        let word = base + local;
        var left = 0u;
        if word < params.n {
            left = in_grid(members[word], word, params.places);
        }
        var slot = before + rank(local, countOneBits(left));
        before += rank_total();
        for (; left != 0u && slot < pattern[NNZ]; slot++) {
            let place = word * 32u + firstTrailingBit(left);
            pattern[rows + slot] = place / across;
            pattern[cols + slot] = place % across;
            left &= left - 1u;
        }
    }
}
