//! Checks of losses.

use super::harness::{Check, Verdict, judge, numbers, operands, place, poisoned, thrice};
use super::step::step;
use crate::Result;
use crate::gpu::{Class, Gpu, Tensor};
use crate::ops::{self, Distilled, IGNORED, NetworkLoss, SideBySide};
use crate::reference::{self, bound::UNIT, bound::gamma};

pub(super) fn table() -> Vec<Check> {
    vec![
        Check::new("fretwork.loss.softmax.f32", softmax),
        Check::new("fretwork.loss.soft.f32", soft),
        Check::new("fretwork.loss.mse.f32", mse),
        Check::new("fretwork.loss.networks.f32", |gpu| networks(gpu, None)),
        Check::new("fretwork.loss.networks.f32.distilled", |gpu| networks(gpu, Some(0.5))),
        Check::new("fretwork.loss.probabilities.f32", probabilities),
    ]
}

fn softmax(gpu: &Gpu) -> Result<Verdict> {
    const ROWS: usize = 130;
    const CLASSES: usize = 10;
    let mut walk = operands(904);
    let mut x = numbers(&mut walk, ROWS * CLASSES, 4.0);
    // Ties, and logits far apart.
    x[..CLASSES].fill(1.5);
    x[CLASSES] = 90.0;
    let mut label: Vec<u32> = (0..ROWS).map(|_| walk.below(CLASSES as u32)).collect();
    label[0] = 0;
    label[7] = IGNORED;
    let mut wanted_report = vec![0.0; 2 * ROWS];
    let mut wanted_grad = vec![0.0; ROWS * CLASSES];
    let step = step(gpu)?;
    reference::softmax_cross_entropy(&x, &label, &mut wanted_report, &mut wanted_grad, 0.125);
    let logits = place(gpu, &[ROWS, CLASSES], &x)?;
    let labels = gpu.upload(Class::Scratch, "check", &[ROWS], &label)?;
    let grad = poisoned(gpu, &[ROWS, CLASSES])?;
    let found = thrice::<f32>(gpu, |rec| {
        let report = poisoned(gpu, &[ROWS, 2])?;
        ops::softmax_cross_entropy(rec, &logits, &labels, &report, &grad, &step)?;
        Ok(report)
    })?;
    let report = match found {
        Ok(report) => report,
        Err(verdict) => return Ok(verdict),
    };
    judge_entropy(gpu, &x, CLASSES, [&report, &wanted_report], &grad, &wanted_grad)
}

/// Holds losses, hits and gradients of softmax cross-entropy of `x` against those of the twin.
fn judge_entropy(
    gpu: &Gpu,
    x: &[f32],
    classes: usize,
    [report, wanted_report]: [&[f32]; 2],
    grad: &Tensor,
    wanted_grad: &[f32],
) -> Result<Verdict> {
    // Each exponential errs by 3 + 2|x| units in the last place (WGSL), kernel and twin alike; then a sum over the classes, and a
    // logarithm, whose error is absolute near 1.
    let spread = |row: usize| {
        let x = &x[row * classes..(row + 1) * classes];
        let largest = x.iter().copied().fold(f32::MIN, f32::max);
        let lowest = x.iter().copied().fold(f32::MAX, f32::min);
        f64::from(largest - lowest).min(90.0)
    };
    let relative = |row: usize| 4.0 * (3.0 + 2.0 * spread(row) + classes as f64 + 4.0) * UNIT;
    let bound = |i: usize| {
        let size = 1.0 + spread(i / 2) + f64::from(x[i / 2 * classes]).abs();
        if i % 2 == 1 { 0.0 } else { relative(i / 2) * size + size * 2f64.powi(-21) }
    };
    let verdict = judge(report, wanted_report, bound);
    if !matches!(verdict, Verdict::Right(_)) {
        return Ok(verdict);
    }
    let found = gpu.read::<f32>(grad)?.wait()?;
    Ok(judge(&found, wanted_grad, |i| 0.125 * (relative(i / classes) + 4.0 * UNIT)))
}

fn soft(gpu: &Gpu) -> Result<Verdict> {
    const ROWS: usize = 130;
    const CLASSES: usize = 10;
    let mut walk = operands(908);
    let mut x = numbers(&mut walk, ROWS * CLASSES, 4.0);
    // Ties, and logits far apart.
    x[..CLASSES].fill(1.5);
    x[CLASSES] = 90.0;
    // Distributions; one row pads.
    let mut wanted: Vec<f32> = (0..ROWS * CLASSES).map(|_| walk.uniform()).collect();
    for row in wanted.chunks_mut(CLASSES) {
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|t| *t /= sum);
    }
    wanted[7 * CLASSES] = f32::NAN;
    let (mut wanted_report, mut wanted_grad) = (vec![0.0; 2 * ROWS], vec![0.0; ROWS * CLASSES]);
    let step = step(gpu)?;
    reference::soft_cross_entropy(&x, &wanted, &mut wanted_report, &mut wanted_grad, 0.125);
    let logits = place(gpu, &[ROWS, CLASSES], &x)?;
    let targets = place(gpu, &[ROWS, CLASSES], &wanted)?;
    let grad = poisoned(gpu, &[ROWS, CLASSES])?;
    let found = thrice::<f32>(gpu, |rec| {
        let report = poisoned(gpu, &[ROWS, 2])?;
        ops::soft_cross_entropy(rec, &logits, &targets, &report, &grad, &step)?;
        Ok(report)
    })?;
    match found {
        Ok(report) => judge_entropy(gpu, &x, CLASSES, [&report, &wanted_report], &grad, &wanted_grad),
        Err(verdict) => Ok(verdict),
    }
}

/// Three networks of five, with padding; rows are shared out in the check with soft targets.
fn side_by_side(shared_out: bool) -> SideBySide {
    SideBySide { networks: 3, begin: 1, all: 5, classes: 10, columns: 16, shared_out }
}

fn networks(gpu: &Gpu, weight: Option<f32>) -> Result<Verdict> {
    const ROWS: usize = 130;
    let of = side_by_side(weight.is_some());
    let SideBySide { networks, all, classes, columns, .. } = of;
    let width = networks * columns;
    let mut walk = operands(909);
    let mut x = numbers(&mut walk, ROWS * width, 4.0);
    // Ties, and logits far apart. Padding is large, and counts for nothing.
    x[..classes].fill(1.5);
    x[columns] = 90.0;
    x.chunks_mut(columns).for_each(|x| x[classes..].fill(95.0));
    let mut label: Vec<u32> = (0..ROWS).map(|_| walk.below(classes as u32)).collect();
    label[7] = IGNORED;
    let mut teachers = numbers(&mut walk, ROWS * width, 3.0);
    reference::network_probabilities(&mut teachers, of);
    // Other networks' entries of the report stay as they are.
    let (mut wanted_report, mut wanted_grad) = (vec![7.0; 2 * ROWS * all], vec![0.0; ROWS * width]);
    let soft = weight.map(|weight| (teachers.as_slice(), weight));
    reference::networks_cross_entropy(&x, &label, &mut wanted_report, &mut wanted_grad, 0.125, of, soft);
    let (logits, soft, step) =
        (place(gpu, &[ROWS, width], &x)?, place(gpu, &[ROWS, width], &teachers)?, step(gpu)?);
    let labels = gpu.upload(Class::Scratch, "check", &[ROWS], &label)?;
    let grad = poisoned(gpu, &[ROWS, width])?;
    let found = thrice::<f32>(gpu, |rec| {
        let report = place(gpu, &[ROWS * all, 2], &vec![7.0; 2 * ROWS * all])?;
        let distilled = weight.map(|weight| Distilled { probabilities: &soft, weight });
        let loss = NetworkLoss { of, distilled };
        ops::networks_cross_entropy(rec, &logits, &labels, &report, &grad, &step, loss)?;
        Ok(report)
    })?;
    let report = match found {
        Ok(report) => report,
        Err(verdict) => return Ok(verdict),
    };
    // Logits are within 90 of each other. See `judge_entropy` for the terms.
    let relative = 4.0 * (3.0 + 2.0 * 90.0 + classes as f64 + 4.0) * UNIT;
    let size = 1.0 + 90.0 + 90.0;
    let bound = |i: usize| if i % 2 == 1 { 0.0 } else { relative * size + size * 2f64.powi(-21) };
    let verdict = judge(&report, &wanted_report, bound);
    if !matches!(verdict, Verdict::Right(_)) {
        return Ok(verdict);
    }
    let found = gpu.read::<f32>(&grad)?.wait()?;
    let scale = 0.125 * f64::from(of.scale()) * (1.0 + f64::from(weight.unwrap_or(0.0)));
    // Padding is exactly 0.
    let counts = |i: usize| i % columns < classes;
    Ok(judge(&found, &wanted_grad, |i| {
        if counts(i) { 2.0 * scale * (relative + (4.0 + networks as f64) * UNIT) } else { 0.0 }
    }))
}

fn probabilities(gpu: &Gpu) -> Result<Verdict> {
    const ROWS: usize = 45;
    let of = side_by_side(false);
    let width = of.networks * of.columns;
    let mut x = numbers(&mut operands(910), ROWS * width, 4.0);
    x[of.columns] = 60.0;
    let mut wanted = x.clone();
    reference::network_probabilities(&mut wanted, of);
    let found = thrice::<f32>(gpu, |rec| {
        let logits = place(gpu, &[ROWS, width], &x)?;
        ops::network_probabilities(rec, &logits, of)?;
        Ok(logits)
    })?;
    let found = match found {
        Ok(found) => found,
        Err(verdict) => return Ok(verdict),
    };
    let relative = 4.0 * (3.0 + 2.0 * 64.0 + of.classes as f64 + 4.0) * UNIT;
    let counts = |i: usize| i % of.columns < of.classes;
    Ok(judge(&found, &wanted, |i| if counts(i) { relative * f64::from(wanted[i]) + 1e-37 } else { 0.0 }))
}

fn mse(gpu: &Gpu) -> Result<Verdict> {
    const ROWS: usize = 130;
    const COLUMNS: usize = 7;
    let mut walk = operands(905);
    let (x, mut t) = (numbers(&mut walk, ROWS * COLUMNS, 3.0), numbers(&mut walk, ROWS * COLUMNS, 3.0));
    // A row that pads.
    t[7 * COLUMNS] = f32::NAN;
    let mut wanted = vec![0.0; ROWS];
    let mut wanted_grad = vec![0.0; ROWS * COLUMNS];
    reference::mse(&x, &t, &mut wanted, &mut wanted_grad, 0.125);
    let (output, target, step) =
        (place(gpu, &[ROWS, COLUMNS], &x)?, place(gpu, &[ROWS, COLUMNS], &t)?, step(gpu)?);
    let grad = poisoned(gpu, &[ROWS, COLUMNS])?;
    let found = thrice::<f32>(gpu, |rec| {
        let report = poisoned(gpu, &[ROWS])?;
        ops::mse(rec, &output, &target, &report, &grad, &step)?;
        Ok(report)
    })?;
    let report = match found {
        Ok(report) => report,
        Err(verdict) => return Ok(verdict),
    };
    // All terms are positive, so the sum's magnitude is the sum itself.
    let verdict = judge(&report, &wanted, |i| 2.0 * gamma(COLUMNS + 3) * f64::from(wanted[i]));
    if !matches!(verdict, Verdict::Right(_)) {
        return Ok(verdict);
    }
    let found = gpu.read::<f32>(&grad)?.wait()?;
    Ok(judge(&found, &wanted_grad, |i| 4.0 * UNIT * f64::from(wanted_grad[i]).abs()))
}
