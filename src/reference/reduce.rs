//! Twin of `shaders/reduce/`.

use crate::terms::SUM_ROWS;

/// Column sums: `out[columns] = sum over rows of x[rows, columns]`, or added to `out`, in chunks of [`SUM_ROWS`] rows.
pub fn column_sums(x: &[f32], out: &mut [f32], add: bool) {
    let columns = out.len();
    let mut from = x.to_vec();
    while from.len() > SUM_ROWS * columns {
        from = from.chunks(SUM_ROWS * columns).flat_map(|chunk| sum_rows(chunk, columns)).collect();
    }
    for (out, sum) in out.iter_mut().zip(sum_rows(&from, columns)) {
        *out = if add { *out + sum } else { sum };
    }
}

/// Inverse Euclidean norm of each column, 0 for a zero column.
pub fn inverse_norms(x: &[f32], out: &mut [f32]) {
    let columns = out.len();
    for (column, out) in out.iter_mut().enumerate() {
        let sum = x.iter().skip(column).step_by(columns).fold(0.0f32, |sum, x| x.mul_add(*x, sum));
        *out = if sum > 0.0 { 1.0 / sum.max(1e-38).sqrt() } else { 0.0 };
    }
}

fn sum_rows(x: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in x.chunks(columns) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
    sums
}
