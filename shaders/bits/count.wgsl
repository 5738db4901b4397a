// Population count of a bit set, stored in or added to out[0].
import package::common::rank::{rank, rank_total, WIDTH};

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> members: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    var count = 0u;
    for (var i = local; i < params.n; i += WIDTH) {
        count += countOneBits(members[i]);
    }
    _ = rank(local, count);
    if local == 0u {
        @if(!add) {
            out[0] = rank_total();
        }
        @if(add) {
            out[0] += rank_total();
        }
    }
}
