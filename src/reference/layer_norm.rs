//! Twins of `shaders/layer_norm/`.

use crate::terms::SUM_ROWS;

/// Layer normalisation: `moments[rows, 2]` gets mean and `scale = 1 / sqrt(variance + epsilon)` of each row, and
/// `out = (x - mean) * scale * gain + bias`.
pub fn layer_norm_forward(
    x: &[f32],
    gain: &[f32],
    bias: &[f32],
    moments: &mut [f32],
    out: &mut [f32],
    epsilon: f32,
) {
    let columns = gain.len();
    for ((x, out), moments) in x.chunks(columns).zip(out.chunks_mut(columns)).zip(moments.chunks_mut(2)) {
        let mean = x.iter().sum::<f32>() / columns as f32;
        let squares = x.iter().fold(0.0f32, |sum, x| (x - mean).mul_add(x - mean, sum));
        let scale = 1.0 / (squares / columns as f32 + epsilon).sqrt();
        for i in 0..columns {
            out[i] = ((x[i] - mean) * scale).mul_add(gain[i], bias[i]);
        }
        moments.copy_from_slice(&[mean, scale]);
    }
}

/// Layer normalisation, gradient of the input: stored in `out`, or added to it.
pub fn layer_norm_backward(
    grad: &[f32],
    x: &[f32],
    gain: &[f32],
    moments: &[f32],
    out: &mut [f32],
    add: bool,
) {
    let columns = gain.len();
    for (row, moments) in moments.chunks(2).enumerate() {
        let span = row * columns..(row + 1) * columns;
        let (grad, x, out) = (&grad[span.clone()], &x[span.clone()], &mut out[span]);
        let (mean, scale) = (moments[0], moments[1]);
        let (mut sum, mut along) = (0.0f32, 0.0f32);
        for i in 0..columns {
            let g = grad[i] * gain[i];
            sum += g;
            along = g.mul_add((x[i] - mean) * scale, along);
        }
        sum /= columns as f32;
        along /= columns as f32;
        for i in 0..columns {
            let slope = scale * (-along).mul_add((x[i] - mean) * scale, grad[i] * gain[i] - sum);
            out[i] = if add { out[i] + slope } else { slope };
        }
    }
}

/// Layer normalisation, gradient of the gain: `out = sum over rows of grad * (x - mean) * scale`, in the chunks of
/// [`column_sums`](super::column_sums).
pub fn layer_norm_gain(grad: &[f32], x: &[f32], moments: &[f32], out: &mut [f32]) {
    let columns = out.len();
    let rows = moments.len() / 2;
    let mut partial = vec![0.0f32; rows.div_ceil(SUM_ROWS) * columns];
    for (row, moments) in moments.chunks(2).enumerate() {
        for column in 0..columns {
            let at = row * columns + column;
            let sum = &mut partial[row / SUM_ROWS * columns + column];
            *sum = (grad[at] * moments[1]).mul_add(x[at] - moments[0], *sum);
        }
    }
    super::column_sums(&partial, out, false);
}
