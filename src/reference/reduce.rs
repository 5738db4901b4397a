//! Twin of `shaders/reduce/`.

/// Rows that one invocation sums.
pub const CHUNK: usize = 256;

/// `out[columns] = sum over rows of x[rows, columns]`, or `out +=` it, in chunks of [`CHUNK`] rows.
pub fn column_sums(x: &[f32], out: &mut [f32], add: bool) {
    let columns = out.len();
    let mut from = x.to_vec();
    while from.len() > CHUNK * columns {
        from = from.chunks(CHUNK * columns).flat_map(|chunk| sum_rows(chunk, columns)).collect();
    }
    for (out, sum) in out.iter_mut().zip(sum_rows(&from, columns)) {
        *out = if add { *out + sum } else { sum };
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
