//! Twin of `shaders/select/`.

/// Order in which scores are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Largest first.
    Largest,
    /// Smallest first.
    Smallest,
}

/// Share of the entries that are not excluded, in `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f32);

impl Share {
    /// Number selected of so many candidates, rounded down, in f32 like the kernel.
    pub fn of(self, candidates: usize) -> usize {
        (self.0 * candidates as f32) as usize
    }
}

/// Set of the `k` largest (or smallest) scores, ties in index order. Scores with the sign bit set are excluded.
pub fn select(scores: &[f32], k: usize, order: Order) -> Vec<u32> {
    let mut candidates: Vec<usize> = (0..scores.len()).filter(|&i| scores[i].is_sign_positive()).collect();
    candidates.sort_by(|&a, &b| {
        let by_score = scores[a].total_cmp(&scores[b]);
        if order == Order::Largest { by_score.reverse() } else { by_score }
    });
    let mut chosen = vec![0; scores.len().div_ceil(32)];
    for &i in candidates.iter().take(k) {
        chosen[i / 32] |= 1 << (i % 32);
    }
    chosen
}

/// Selection per column of `scores[n, columns]`, `k[column]` members each, one set after the other.
pub fn select_columns(scores: &[f32], k: &[u32], order: Order) -> Vec<u32> {
    let columns = k.len();
    let column = |c: usize| scores.iter().copied().skip(c).step_by(columns).collect::<Vec<f32>>();
    (0..columns).flat_map(|c| select(&column(c), k[c] as usize, order)).collect()
}
