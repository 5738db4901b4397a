// Counts the block rows and block columns without an active block: outputs a layer never writes and inputs it never
// reads. One workgroup; results in out[2 * layer] and out[2 * layer + 1].
import package::common::rank::{rank, rank_total, WIDTH};
import package::common::topology::{topology, ROW_PTR, COL_PTR, ROW_BLOCKS, COL_BLOCKS};

struct Params {
    layer: u32,
}

@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    for (var axis = 0u; axis < 2u; axis++) {
        let lines = topology[select(ROW_BLOCKS, COL_BLOCKS, axis == 1u)];
        let pointers = topology[select(ROW_PTR, COL_PTR, axis == 1u)];
        var empty = 0u;
        for (var line = local; line < lines; line += WIDTH) {
            empty += select(0u, 1u, topology[pointers + line] == topology[pointers + line + 1u]);
        }
        rank(local, empty);
        if local == 0u {
            out[2u * params.layer + axis] = rank_total();
        }
    }
}
