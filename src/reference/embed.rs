//! Twins of `shaders/embed/`.

use crate::terms::SUM_TOKENS;

/// Embedding lookup: `out[t] = table[ids[t]] + positions[t % context]`; ids outside the table add nothing.
pub fn embed_gather(ids: &[u32], table: &[f32], positions: &[f32], out: &mut [f32]) {
    let columns = out.len() / ids.len();
    let places = positions.chunks(columns).cycle();
    for ((&id, place), out) in ids.iter().zip(places).zip(out.chunks_mut(columns)) {
        let row = table.chunks(columns).nth(id as usize);
        for (column, out) in out.iter_mut().enumerate() {
            *out = place[column] + row.map_or(0.0, |row| row[column]);
        }
    }
}

/// Gradients of the table and of the positions.
///
/// Tokens of one id are summed in ascending order in chunks of [`SUM_TOKENS`]; chunks, and positions across sequences,
/// are summed like [`column_sums`](super::column_sums).
pub fn embed_scatter(ids: &[u32], grad: &[f32], dtable: &mut [f32], dpositions: &mut [f32]) {
    let columns = grad.len() / ids.len();
    let mut partial = Vec::new();
    for (ids, grad) in ids.chunks(SUM_TOKENS).zip(grad.chunks(SUM_TOKENS * columns)) {
        let mut sums = vec![0.0; dtable.len()];
        for (&id, grad) in ids.iter().zip(grad.chunks(columns)) {
            if let Some(sums) = sums.chunks_mut(columns).nth(id as usize) {
                sums.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
            }
        }
        partial.extend(sums);
    }
    super::column_sums(&partial, dtable, false);
    super::column_sums(grad, dpositions, false);
}
