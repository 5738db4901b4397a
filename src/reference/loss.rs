//! Twins of `shaders/loss/`.

/// Label of a row that does not count; any other label that is no class has the same effect.
pub const IGNORED: u32 = u32::MAX;

/// Softmax cross-entropy of `logits[rows, classes]`: `report[rows, 2]` receives loss and hit, `grad` the gradient
/// times `row_scale`.
pub fn softmax_cross_entropy(
    logits: &[f32],
    labels: &[u32],
    report: &mut [f32],
    grad: &mut [f32],
    row_scale: f32,
) {
    let classes = logits.len() / labels.len();
    for (row, &label) in labels.iter().enumerate() {
        let span = row * classes..(row + 1) * classes;
        let (x, grad) = (&logits[span.clone()], &mut grad[span]);
        if label as usize >= classes {
            report[2 * row..2 * row + 2].fill(0.0);
            grad.fill(0.0);
            continue;
        }
        let mut winner = 0;
        for i in 1..classes {
            if x[i] > x[winner] {
                winner = i;
            }
        }
        let largest = x[winner];
        let mut sum = 0.0f32;
        for &x in x {
            sum += (x - largest).exp();
        }
        for i in 0..classes {
            let hot = if i == label as usize { 1.0 } else { 0.0 };
            grad[i] = row_scale * ((x[i] - largest).exp() / sum - hot);
        }
        report[2 * row] = sum.ln() + largest - x[label as usize];
        report[2 * row + 1] = if winner == label as usize { 1.0 } else { 0.0 };
    }
}

/// Squared error: half of it per row, and its gradient times `row_scale`.
pub fn mse(output: &[f32], wanted: &[f32], report: &mut [f32], grad: &mut [f32], row_scale: f32) {
    let columns = output.len() / report.len();
    for (row, report) in report.iter_mut().enumerate() {
        let mut sum = 0.0f32;
        for i in row * columns..(row + 1) * columns {
            let error = output[i] - wanted[i];
            sum = (0.5 * error).mul_add(error, sum);
            grad[i] = row_scale * error;
        }
        *report = sum;
    }
}
