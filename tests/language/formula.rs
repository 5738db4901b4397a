//! Formulas of a language model in f64, written for clarity, with no code of the library.

/// Embeddings: the row of each id in the table plus the row of its position, `[tokens, width]`. Ids beyond the table have a row of 0.
pub(crate) fn gather(ids: &[u32], table: &[f64], positions: &[f64], width: usize) -> Vec<f64> {
    let mut x = Vec::new();
    for (t, &id) in ids.iter().enumerate() {
        for c in 0..width {
            let from = id as usize * width + c;
            x.push(positions[(t * width + c) % positions.len()] + table.get(from).copied().unwrap_or(0.0));
        }
    }
    x
}

/// Root-mean-square normalisation of each row, times the gain.
pub(crate) fn norm(x: &[f64], gain: &[f64], epsilon: f64) -> Vec<f64> {
    let of_row = |row: &[f64]| {
        let squares: f64 = row.iter().map(|x| x * x).sum();
        let root = (squares / row.len() as f64 + epsilon).sqrt();
        row.iter().zip(gain).map(move |(x, gain)| x / root * gain).collect::<Vec<_>>()
    };
    x.chunks(gain.len()).flat_map(of_row).collect()
}

/// Causal attention: the output `[tokens, width]`, and the logarithm of the sum of exponentials `[tokens, heads]`.
pub(crate) fn attention(qkv: &[f64], context: usize, heads: usize, head: usize) -> [Vec<f64>; 2] {
    let width = heads * head;
    let part = |t: usize, part: usize, h: usize| {
        let at = t * 3 * width + part * width + h * head;
        &qkv[at..at + head]
    };
    let tokens = qkv.len() / (3 * width);
    let (mut out, mut lse) = (Vec::new(), Vec::new());
    for t in 0..tokens {
        for h in 0..heads {
            let keys: Vec<usize> = (t - t % context..=t).collect();
            let score = |key: &usize| {
                let dot: f64 = part(t, 0, h).iter().zip(part(*key, 1, h)).map(|(q, k)| q * k).sum();
                dot / (head as f64).sqrt()
            };
            let scores: Vec<f64> = keys.iter().map(score).collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            for c in 0..head {
                let weighted =
                    |(key, score): (&usize, &f64)| (score - largest).exp() / sum * part(*key, 2, h)[c];
                out.push(keys.iter().zip(&scores).map(weighted).sum());
            }
            lse.push(largest + sum.ln());
        }
    }
    [out, lse]
}

/// Product `x * w^T`.
pub(crate) fn linear(x: &[f64], w: &[f64], inputs: usize) -> Vec<f64> {
    let of_row = |row: &[f64]| -> Vec<f64> {
        w.chunks(inputs).map(|w| w.iter().zip(row).map(|(w, x)| w * x).sum()).collect()
    };
    x.chunks(inputs).flat_map(of_row).collect()
}
