// Order of the assignments: all first assignments by token, then all second ones, and so on. An invocation walks one
// chunk of this order.
import package::common::topology::ABSENT;

struct Params {
    tokens: u32,
    assignments: u32,
    experts: u32,
    // Assignments per chunk, and number of chunks.
    chunk: u32,
    chunks: u32,
    // Rows per tile.
    block: u32,
    // Tokens per group.
    @if(kept)
    group: u32,
}

@group(0) @binding(0) var<storage, read> experts: array<u32>;
// One bit per token, by group and expert, in whole words; assignments whose bit is 0 are dropped.
@if(kept) @group(0) @binding(1) var<storage, read> kept: array<u32>;
// One word per expert and chunk.
@group(0) @binding(2) var<storage, read_write> table: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

struct Walk {
    nth: u32,
    token: u32,
    left: u32,
}

fn walk(chunk: u32) -> Walk {
    let first = chunk * params.chunk;
    let left = min(params.chunk, params.tokens * params.assignments - first);
    return Walk(first / params.tokens, first % params.tokens, left);
}

fn next(at: Walk) -> Walk {
    let wraps = at.token + 1u == params.tokens;
    return Walk(select(at.nth, at.nth + 1u, wraps), select(at.token + 1u, 0u, wraps), at.left - 1u);
}

fn number(at: Walk) -> u32 {
    return at.token * params.assignments + at.nth;
}

// Index in the table of an assignment's counter; ABSENT for a dropped assignment or an invalid expert.
fn counter(at: Walk, chunk: u32) -> u32 {
    let expert = experts[number(at)];
    @if(!kept) {
        return select(ABSENT, expert * params.chunks + chunk, expert < params.experts);
    }
    @if(kept) {
        if expert >= params.experts {
            return ABSENT;
        }
        let owner = (at.token / params.group) * params.experts + expert;
        let place = at.token % params.group;
        let word = kept[owner * ((params.group + 31u) / 32u) + place / 32u];
        return select(ABSENT, expert * params.chunks + chunk, ((word >> (place % 32u)) & 1u) == 1u);
    }
}
