//! Twin of `shaders/select/`.

use crate::terms::Order;

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
