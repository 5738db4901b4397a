// Capacities by the number of tokens that count: every word becomes by_count[n] for n such tokens. One workgroup.
import package::common::gate::TOKEN_COUNTS;
import package::common::rank::{rank, rank_total, WIDTH};

struct Params {
    tokens: u32,
    capacities: u32,
}

@group(0) @binding(0) var<storage, read> tokens: array<f32>;
// Capacity for each number of tokens, from 0 on.
@group(0) @binding(1) var<storage, read> by_count: array<u32>;
@group(0) @binding(2) var<storage, read_write> capacity: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    var found = 0u;
    for (var token = local; token < params.tokens; token += WIDTH) {
        found += select(0u, 1u, tokens[4u * token + TOKEN_COUNTS] > 0.0);
    }
    _ = rank(local, found);
    let wanted = by_count[rank_total()];
    for (var i = local; i < params.capacities; i += WIDTH) {
        capacity[i] = wanted;
    }
}
