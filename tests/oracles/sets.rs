//! Sets of blocks, chosen by sorting.

use std::collections::BTreeSet;

/// Of (score, place) the `k` with the smallest scores, equals from the first place on.
pub(crate) fn smallest(mut scored: Vec<(f64, usize)>, k: usize) -> BTreeSet<usize> {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(k).map(|(_, place)| place).collect()
}

/// The `k` with the largest.
pub(crate) fn largest(scored: Vec<(f64, usize)>, k: usize) -> BTreeSet<usize> {
    smallest(scored.into_iter().map(|(score, place)| (-score, place)).collect(), k)
}
