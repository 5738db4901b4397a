//! Twins of `shaders/bits/`.

use crate::sparse::Topology;
use crate::terms::SetOp;

/// Combines two bit sets: `a op b`.
pub fn combine(a: &[u32], b: &[u32], op: SetOp) -> Vec<u32> {
    let word = |(a, b): (&u32, &u32)| match op {
        SetOp::And => a & b,
        SetOp::Or => a | b,
        SetOp::AndNot => a & !b,
    };
    a.iter().zip(b).map(word).collect()
}

/// Number of members of a set.
pub fn count(set: &[u32]) -> u32 {
    set.iter().map(|word| word.count_ones()).sum()
}

/// Set of the stored blocks.
pub fn present(topology: &Topology) -> Vec<u32> {
    set(topology.row_blocks() * topology.col_blocks(), topology.places())
}

/// Bit set over `n` positions with the given members; members out of range are ignored.
pub fn set(n: usize, members: impl IntoIterator<Item = usize>) -> Vec<u32> {
    let mut set = vec![0; n.div_ceil(32)];
    members.into_iter().filter(|&i| i < n).for_each(|i| set[i / 32] |= 1 << (i % 32));
    set
}

/// Members of a set in ascending order.
pub fn members(set: &[u32]) -> Vec<usize> {
    (0..set.len() * 32).filter(|&i| set[i / 32] >> (i % 32) & 1 == 1).collect()
}
