//! Twins of `shaders/loss/`.

use crate::terms::SideBySide;

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

/// Softmax cross-entropy of `logits[rows, classes]` with the distributions `wanted[rows, classes]`: `report[rows, 2]` gets loss and
/// hit, `grad` the gradient times `row_scale`. A row whose first target is NaN is padding.
pub fn soft_cross_entropy(
    logits: &[f32],
    wanted: &[f32],
    report: &mut [f32],
    grad: &mut [f32],
    row_scale: f32,
) {
    let rows = report.len() / 2;
    let classes = logits.len() / rows;
    for row in 0..rows {
        let span = row * classes..(row + 1) * classes;
        let (x, t, grad) = (&logits[span.clone()], &wanted[span.clone()], &mut grad[span]);
        if t[0].is_nan() {
            report[2 * row..2 * row + 2].fill(0.0);
            grad.fill(0.0);
            continue;
        }
        let (mut winner, mut likeliest, mut mass) = (0, 0, t[0]);
        for i in 1..classes {
            if x[i] > x[winner] {
                winner = i;
            }
            if t[i] > t[likeliest] {
                likeliest = i;
            }
            mass += t[i];
        }
        let largest = x[winner];
        let mut sum = 0.0f32;
        for &x in x {
            sum += (x - largest).exp();
        }
        let log_sum = sum.ln() + largest;
        let mut loss = 0.0f32;
        for i in 0..classes {
            grad[i] = row_scale * (mass * ((x[i] - largest).exp() / sum) - t[i]);
            loss = t[i].mul_add(log_sum - x[i], loss);
        }
        report[2 * row] = loss;
        report[2 * row + 1] = if winner == likeliest { 1.0 } else { 0.0 };
    }
}

/// Softmax cross-entropy of networks side by side in `logits[rows, networks * columns]`: `report[rows, all, 2]` gets loss and hit of
/// each of these networks, `grad` the gradient times `row_scale`. `distilled` has the probabilities of all networks, and the factor of
/// the cross-entropy to the mean of the others'.
pub fn networks_cross_entropy(
    logits: &[f32],
    labels: &[u32],
    report: &mut [f32],
    grad: &mut [f32],
    row_scale: f32,
    of: SideBySide,
    distilled: Option<(&[f32], f32)>,
) {
    let SideBySide { networks, begin, all, classes, columns, .. } = of;
    for (row, &label) in labels.iter().enumerate() {
        for network in 0..networks {
            let at = (row * networks + network) * columns;
            let (x, grad) = (&logits[at..at + classes], &mut grad[at..at + columns]);
            let at = 2 * (row * all + begin + network);
            let report = &mut report[at..at + 2];
            grad.fill(0.0);
            if label as usize >= classes || !of.counts(row, network) {
                report.fill(0.0);
                continue;
            }
            let label = label as usize;
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
                let probability = (x[i] - largest).exp() / sum;
                let mut slope = probability - if i == label { 1.0 } else { 0.0 };
                if let Some((teachers, weight)) = distilled {
                    let taught = |other: usize| teachers[(row * networks + other) * columns + i];
                    let others = (0..networks).filter(|&other| other != network);
                    let wanted = others.map(taught).sum::<f32>() / (networks - 1) as f32;
                    slope = weight.mul_add(probability - wanted, slope);
                }
                grad[i] = row_scale * of.scale() * slope;
            }
            report[0] = sum.ln() + largest - x[label];
            report[1] = if winner == label { 1.0 } else { 0.0 };
        }
    }
}

/// Softmax of the logits of networks side by side, in their place; padding is left alone.
pub fn network_probabilities(logits: &mut [f32], of: SideBySide) {
    for x in logits.chunks_mut(of.columns) {
        let x = &mut x[..of.classes];
        let largest = x.iter().copied().fold(x[0], f32::max);
        let mut sum = 0.0f32;
        for x in x.iter_mut() {
            *x = (*x - largest).exp();
            sum += *x;
        }
        x.iter_mut().for_each(|x| *x /= sum);
    }
}

/// Mean squared error of each row, and its gradient times `row_scale`. A row whose first target is NaN is padding.
pub fn mse(output: &[f32], wanted: &[f32], report: &mut [f32], grad: &mut [f32], row_scale: f32) {
    let columns = output.len() / report.len();
    let share = 1.0 / columns as f32;
    for (row, report) in report.iter_mut().enumerate() {
        let counts = !wanted[row * columns].is_nan();
        let mut sum = 0.0f32;
        for i in row * columns..(row + 1) * columns {
            let error = if counts { output[i] - wanted[i] } else { 0.0 };
            sum = error.mul_add(error, sum);
            grad[i] = row_scale * 2.0 * share * error;
        }
        *report = sum * share;
    }
}
