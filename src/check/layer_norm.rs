//! Checks of layer normalisation.

use super::harness::{Check, Output, Verdict, judge, judge_all, numbers, operands, place, thrice};
use crate::Result;
use crate::gpu::Gpu;
use crate::ops;
use crate::reference::{self, bound::gamma};
use crate::terms::SUM_ROWS;

/// Not whole workgroups, and columns that four does not divide.
const ROWS: usize = 70;
const COLUMNS: usize = 37;
const EPSILON: f32 = 1e-5;

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    for mean in [0.0, 1.0, 100.0] {
        let name = format!("fretwork.layer_norm.forward.f32 mean {mean}");
        table.push(Check::new(name, move |gpu| forward(gpu, mean)));
    }
    for add in [false, true] {
        let name = format!("fretwork.layer_norm.backward.f32{}", if add { ".add" } else { "" });
        table.push(Check::new(name, move |gpu| backward(gpu, add)));
    }
    for rows in [ROWS, SUM_ROWS + 1] {
        let name = format!("fretwork.layer_norm.gain.f32 {rows}x{COLUMNS}");
        table.push(Check::new(name, move |gpu| gain(gpu, rows)));
    }
    table
}

/// Operands of a normalisation, and its results by the twin.
struct Normed {
    x: Vec<f32>,
    gain: Vec<f32>,
    bias: Vec<f32>,
    grad: Vec<f32>,
    moments: Vec<f32>,
    out: Vec<f32>,
}

/// Rows whose numbers lie around a mean, and one of equal numbers.
fn normed(rows: usize, mean: f32) -> Normed {
    let mut walk = operands(960);
    let mut x: Vec<f32> = numbers(&mut walk, rows * COLUMNS, 1.0).into_iter().map(|x| x + mean).collect();
    x[COLUMNS..2 * COLUMNS].fill(mean);
    let gain = numbers(&mut walk, COLUMNS, 2.0);
    let bias = numbers(&mut walk, COLUMNS, 1.0);
    let grad = numbers(&mut walk, rows * COLUMNS, 1.0);
    let (mut moments, mut out) = (vec![0.0; 2 * rows], vec![0.0; rows * COLUMNS]);
    reference::layer_norm_forward(&x, &gain, &bias, &mut moments, &mut out, EPSILON);
    Normed { x, gain, bias, grad, moments, out }
}

fn wide(x: f32) -> f64 {
    f64::from(x).abs()
}

/// Errors of the mean are those of a sum of magnitudes; a row's deviations inherit them, and so do its scale, relative to the
/// root of the variance, and the outputs.
fn forward(gpu: &Gpu, mean: f32) -> Result<Verdict> {
    let Normed { x, gain, bias, moments, out, .. } = normed(ROWS, mean);
    let share = 2.0 * gamma(COLUMNS + 12);
    let largest =
        |row: usize| x[row * COLUMNS..(row + 1) * COLUMNS].iter().fold(0.0, |most, &x| wide(x).max(most));
    // Relative error of a row's deviations from its mean, where they are as large as the root of the variance.
    let deviation = |row: usize| share * largest(row) * wide(moments[2 * row + 1]);
    let moment = |i: usize| match i % 2 {
        0 => share * largest(i / 2),
        _ => wide(moments[i]) * (share + deviation(i / 2)),
    };
    let element = |i: usize| {
        let (row, column) = (i / COLUMNS, i % COLUMNS);
        let normed = wide(out[i] - bias[column]);
        share * (wide(out[i]) + wide(bias[column]))
            + (normed + wide(gain[column])) * deviation(row)
            + normed * share
    };
    let shape = [ROWS, COLUMNS];
    let place = |values: &[f32], shape: &[usize]| place(gpu, shape, values);
    let (x_at, gain_at, bias_at) = (place(&x, &shape)?, place(&gain, &[COLUMNS])?, place(&bias, &[COLUMNS])?);
    let outputs = [
        Output { name: "moments", shape: &[ROWS, 2], wanted: &moments, bound: Box::new(moment) },
        Output { name: "out", shape: &shape, wanted: &out, bound: Box::new(element) },
    ];
    judge_all(gpu, &outputs, |rec, outputs| {
        ops::layer_norm_forward(rec, &x_at, &gain_at, &bias_at, &outputs[0], &outputs[1], EPSILON)
    })
}

fn backward(gpu: &Gpu, add: bool) -> Result<Verdict> {
    let Normed { x, gain, grad, moments, .. } = normed(ROWS, 1.0);
    let before = numbers(&mut operands(961), ROWS * COLUMNS, 1.0);
    let mut wanted = before.clone();
    reference::layer_norm_backward(&grad, &x, &gain, &moments, &mut wanted, add);
    let tensor = |values: &[f32]| place(gpu, &[ROWS, COLUMNS], values);
    let (x_at, grad_at) = (tensor(&x)?, tensor(&grad)?);
    let (gain_at, moments_at) = (place(gpu, &[COLUMNS], &gain)?, place(gpu, &[ROWS, 2], &moments)?);
    let found = thrice::<f32>(gpu, |rec| {
        let out = tensor(&before)?;
        ops::layer_norm_backward(rec, &grad_at, &x_at, &gain_at, &moments_at, &out, add)?;
        Ok(out)
    })?;
    let bound = |i: usize| {
        let (row, begin) = (i / COLUMNS, i / COLUMNS * COLUMNS);
        let (mean, scale) = (moments[2 * row], wide(moments[2 * row + 1]));
        let g = |column: usize| wide(grad[begin + column]) * wide(gain[column]);
        let normed = |column: usize| wide(x[begin + column] - mean) * scale;
        let mean_of = |f: &dyn Fn(usize) -> f64| (0..COLUMNS).map(f).sum::<f64>() / COLUMNS as f64;
        let (sum, along) = (mean_of(&g), mean_of(&|column| g(column) * normed(column)));
        let column = i % COLUMNS;
        2.0 * gamma(COLUMNS + 12) * (scale * (g(column) + sum + normed(column) * along) + wide(before[i]))
    };
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn gain(gpu: &Gpu, rows: usize) -> Result<Verdict> {
    let Normed { x, grad, moments, .. } = normed(rows, 1.0);
    let mut wanted = vec![0.0; COLUMNS];
    reference::layer_norm_gain(&grad, &x, &moments, &mut wanted);
    let term = |row: usize, at: usize| wide(grad[at] * (x[at] - moments[2 * row]) * moments[2 * row + 1]);
    let magnitude = |column: usize| (0..rows).map(|row| term(row, row * COLUMNS + column)).sum::<f64>();
    let (x_at, grad_at) = (place(gpu, &[rows, COLUMNS], &x)?, place(gpu, &[rows, COLUMNS], &grad)?);
    let moments_at = place(gpu, &[rows, 2], &moments)?;
    let bound = |column: usize| 2.0 * gamma(rows + 4) * magnitude(column);
    let outputs = [Output { name: "out", shape: &[COLUMNS], wanted: &wanted, bound: Box::new(bound) }];
    judge_all(gpu, &outputs, |rec, out| ops::layer_norm_gain(rec, &grad_at, &x_at, &moments_at, &out[0]))
}
