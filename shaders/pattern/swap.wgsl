// Slot swap: slots of dropped blocks take the coordinates of grown blocks, pairwise in grid order. A block both
// dropped and grown stays in place. Values do not move; the birth of a changed slot is the next weight update, and
// the map becomes that of the new pattern. The index is stale afterwards and must be rebuilt: its slot list serves as
// scratch for the freed slots. Nothing changes in a skipped step.
import package::common::rank::{rank, rank_total, WIDTH};
import package::common::set::in_grid;
import package::common::step::now;
@if(scaled)
import package::common::loss_scale::LossScale;
import package::common::topology::{ABSENT, COL_BLOCKS, BY_ROW, SLOT_ROW, SLOT_COL};

struct Params {
    n: u32,
    places: u32,
}

@group(0) @binding(0) var<storage, read> dropped: array<u32>;
@group(0) @binding(1) var<storage, read> grown: array<u32>;
@group(0) @binding(2) var<storage, read_write> pattern: array<u32>;
@group(0) @binding(3) var<storage, read_write> map: array<u32>;
// First update of each slot's block, counted from 1.
@group(0) @binding(4) var<storage, read_write> born: array<u32>;
// Totals: blocks replaced, and swaps that replaced any.
@group(0) @binding(5) var<storage, read_write> churn: array<u32>;
@if(scaled) @group(0) @binding(6) var<storage, read> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;

// Members of a word that are stored, or that are not. Dropping a block that is not stored, or growing one that is,
// would lose or duplicate a slot; bits past the last grid position have no slot.
fn only(members: u32, word: u32, stored: bool) -> u32 {
    var kept = 0u;
    for (var left = in_grid(members, word, params.places); left != 0u; left &= left - 1u) {
        let bit = firstTrailingBit(left);
        kept |= select(0u, 1u << bit, (map[word * 32u + bit] != ABSENT) == stored);
    }
    return kept;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    var moves = now.moves;
    // Words that count. Loops with barriers run over all words, since the scale is not uniform where it may be written.
    var n = params.n;
    @if(scaled) {
        moves = loss_scale.taken;
        n = select(n, 0u, loss_scale.factor == 0.0);
    }
    let free = pattern[BY_ROW];
    var leavers = 0u;
    for (var base = 0u; base < params.n; base += WIDTH) {
        let word = base + local;
        var left = 0u;
        if word < n {
            left = only(dropped[word] & ~grown[word], word, true);
        }
        var at = leavers + rank(local, countOneBits(left));
        leavers += rank_total();
        for (; left != 0u; at++) {
            pattern[free + at] = map[word * 32u + firstTrailingBit(left)];
            left &= left - 1u;
        }
    }
    // The freed slots are read by other invocations below.
    storageBarrier();

    let across = pattern[COL_BLOCKS];
    var entrants = 0u;
    for (var base = 0u; base < params.n; base += WIDTH) {
        let word = base + local;
        var left = 0u;
        if word < n {
            left = only(grown[word] & ~dropped[word], word, false);
        }
        var at = entrants + rank(local, countOneBits(left));
        entrants += rank_total();
        for (; left != 0u && at < leavers; at++) {
            let slot = pattern[free + at];
            let place = word * 32u + firstTrailingBit(left);
            // Each grid position is freed or taken by one invocation only.
            map[pattern[pattern[SLOT_ROW] + slot] * across + pattern[pattern[SLOT_COL] + slot]] = ABSENT;
            map[place] = slot;
            pattern[pattern[SLOT_ROW] + slot] = place / across;
            pattern[pattern[SLOT_COL] + slot] = place % across;
            born[slot] = moves + 1u;
            left &= left - 1u;
        }
    }
    if local == 0u {
        churn[0] += min(leavers, entrants);
        churn[1] += min(1u, min(leavers, entrants));
    }
}
