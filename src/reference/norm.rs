//! Twins of `shaders/norm/`.

use crate::terms::SUM_ROWS;

/// RMS normalisation: `scale[row] = 1 / sqrt(mean(x^2) + epsilon)` and `out = x * scale * gain`.
pub fn norm_forward(x: &[f32], gain: &[f32], scale: &mut [f32], out: &mut [f32], epsilon: f32) {
    let columns = gain.len();
    for ((x, out), scale) in x.chunks(columns).zip(out.chunks_mut(columns)).zip(scale) {
        let sum = x.iter().fold(0.0f32, |sum, x| x.mul_add(*x, sum));
        *scale = 1.0 / (sum / columns as f32 + epsilon).sqrt();
        for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
            *out = x * *scale * gain;
        }
    }
}

/// RMS normalisation, gradient of the input: stored in `out`, or added to it.
pub fn norm_backward(grad: &[f32], x: &[f32], gain: &[f32], scale: &[f32], out: &mut [f32], add: bool) {
    let columns = gain.len();
    for (row, scale) in scale.iter().enumerate() {
        let span = row * columns..(row + 1) * columns;
        let (grad, x, out) = (&grad[span.clone()], &x[span.clone()], &mut out[span]);
        let sum = (0..columns).fold(0.0f32, |sum, i| (grad[i] * gain[i]).mul_add(x[i], sum));
        let along = scale * scale * (sum / columns as f32);
        for i in 0..columns {
            let slope = scale * (-along).mul_add(x[i], grad[i] * gain[i]);
            out[i] = if add { out[i] + slope } else { slope };
        }
    }
}

/// RMS normalisation, gradient of the gain: `out = sum over rows of grad * x * scale`, in the chunks of
/// [`column_sums`](super::column_sums).
pub fn norm_gain(grad: &[f32], x: &[f32], scale: &[f32], out: &mut [f32]) {
    let columns = out.len();
    let mut partial = vec![0.0f32; scale.len().div_ceil(SUM_ROWS) * columns];
    for (row, scale) in scale.iter().enumerate() {
        for column in 0..columns {
            let at = row * columns + column;
            let sum = &mut partial[row / SUM_ROWS * columns + column];
            *sum = (grad[at] * scale).mul_add(x[at], *sum);
        }
    }
    super::column_sums(&partial, out, false);
}
