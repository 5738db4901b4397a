//! Checks of conversions to f16 and from it, and of what else reads or writes f16, but for the matmuls.

use half::f16;

use super::activation::{activation_error, derivative_error};
use super::dynamic::topology;
use super::harness::{
    Check, Verdict, judge, judge_exact, numbers, operands, place, place_as, poisoned, poisoned_as, storable,
    stored_bound, thrice, thrice_as,
};
use crate::Result;
use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::ops::{
    self, Activation, AdamW, Dropout, Dropping, LossScale, LossScaleState, Rounding, Sgd, Step, StepValues,
};
use crate::random::{Key, Stream};
use crate::reference::{self, bound::gamma};
use crate::sparse::{BLOCKS, Pattern};

/// More than one workgroup, and an odd number.
const COUNT: usize = 1001;

const INDEX: u32 = 9;

pub(super) fn table() -> Vec<Check> {
    let mut table = vec![
        Check::new("fretwork.convert.to_f16.f32.half_out", |gpu| cast(gpu, false)),
        Check::new("fretwork.convert.to_f16.f32.half_out.stochastic", |gpu| cast(gpu, true)),
        Check::new("fretwork.convert.to_f32.f16", widen),
        Check::new("fretwork.finite.scan.f16", finite),
        Check::new("fretwork.reduce.norms.f16", norms),
        Check::new("fretwork.norm.forward.f32.half_out", norm_forward),
        Check::new("fretwork.scale.apply.f32.half_out", scale_apply),
        Check::new("fretwork.scale.apply.f32", scale_apply_f32),
        Check::new("fretwork.scale.decide.f32", |gpu| scale_decide(gpu, false)),
        Check::new("fretwork.scale.decide.f32.watched", |gpu| scale_decide(gpu, true)),
        Check::new("fretwork.optimizer.adamw.f32.quads.scaled", adamw),
        Check::new("fretwork.optimizer.sgd.f32.nesterov.quads.scaled", sgd),
    ];
    for block in BLOCKS {
        let name = format!("fretwork.convert.to_f16.f32.b{block}.half_out.placed.stochastic");
        table.push(Check::new(name, move |gpu| cast_placed(gpu, block)));
    }
    for rows in [257, 1000] {
        table
            .push(Check::new(format!("fretwork.reduce.sum.f16 {rows}x5"), move |gpu| column_sums(gpu, rows)));
    }
    for activation in [Activation::Relu, Activation::Gelu] {
        let name = |pass| format!("fretwork.activation.{pass}.f16({activation}, dropout 0.3)");
        table.push(Check::new(name("forward"), move |gpu| forward(gpu, activation)));
        table.push(Check::new(name("backward"), move |gpu| backward(gpu, activation)));
    }
    table.into_iter().map(|check| check.of_half(true)).collect()
}

fn step(gpu: &Gpu) -> Result<Step> {
    Step::new(gpu, StepValues::forward(INDEX))
}

/// Of every magnitude, and where rounding is hard: halfway between two, at the ends of the range, and what is no number.
fn hard_numbers() -> Vec<f32> {
    let mut walk = operands(1300);
    let mut x: Vec<f32> =
        (0..COUNT).map(|i| (2.0 * walk.uniform() - 1.0) * 2f32.powi(i as i32 % 44 - 26)).collect();
    let hard = [
        0.0,
        -0.0,
        1.0 + 1.0 / 2048.0,
        1.0 + 3.0 / 2048.0,
        -1.0 - 1.0 / 2048.0 - f32::EPSILON,
        65_504.0,
        65_519.0,
        65_519.996,
        65_520.0,
        -65_520.0,
        65_536.0,
        1e30,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        // The least normal number of f16 and its neighbours, the least of all, and halves of it.
        6.103_515_6e-5,
        6.100_535e-5,
        6.102_025_5e-5,
        5.960_464_5e-8,
        2.980_232_2e-8,
        -2.980_232_6e-8,
        8.940_697e-8,
        1e-30,
        f32::MIN_POSITIVE / 2.0,
    ];
    x[..hard.len()].copy_from_slice(&hard);
    x
}

fn cast(gpu: &Gpu, by_chance: bool) -> Result<Verdict> {
    let x = hard_numbers();
    let key = Key::new(77, Stream::Check(1301));
    let mut wanted = vec![f16::ZERO; COUNT];
    reference::to_f16(&x, &mut wanted, by_chance.then_some((key, INDEX)), None);
    let step = step(gpu)?;
    let rounding =
        if by_chance { Rounding::Stochastic { key, step: &step, pattern: None } } else { Rounding::Nearest };
    let from = place(gpu, &[COUNT], &x)?;
    let found = thrice::<f16>(gpu, |rec| {
        let out = poisoned_as(gpu, DType::F16, &[COUNT])?;
        ops::convert(rec, &from, &out, rounding)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_halves(&found, &wanted)))
}

/// Of blocks whose slots are in no order.
fn cast_placed(gpu: &Gpu, block: usize) -> Result<Verdict> {
    let topology = topology(block, 1315)?;
    let shape = [topology.nnz(), block, block];
    let x = numbers(&mut operands(1315), topology.elements(), 1.0);
    let key = Key::new(77, Stream::Check(1315));
    let mut wanted = vec![f16::ZERO; x.len()];
    reference::to_f16(&x, &mut wanted, Some((key, INDEX)), Some(&topology));
    let (from, pattern, step) = (place(gpu, &shape, &x)?, Pattern::upload(gpu, &topology)?, step(gpu)?);
    let found = thrice::<f16>(gpu, |rec| {
        let out = poisoned_as(gpu, DType::F16, &shape)?;
        ops::convert(rec, &from, &out, Rounding::Stochastic { key, step: &step, pattern: Some(&pattern) })?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_halves(&found, &wanted)))
}

/// Bit for bit, but that NaN may be any, and what is not normal may be a 0.
fn judge_halves(found: &[f16], wanted: &[f16]) -> Verdict {
    let same = |found: f16, wanted: f16| {
        found.to_bits() == wanted.to_bits()
            || found.is_nan() && wanted.is_nan()
            || wanted.is_finite() && !wanted.is_normal() && found.to_f32() == 0.0
    };
    let alike: Vec<f16> = found
        .iter()
        .zip(wanted)
        .map(|(&found, &wanted)| if same(found, wanted) { wanted } else { found })
        .collect();
    let bits = |x: &[f16]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    judge_exact(&bits(&alike), &bits(wanted))
}

fn widen(gpu: &Gpu) -> Result<Verdict> {
    let x: Vec<f16> = hard_numbers().into_iter().map(f16::from_f32).collect();
    let mut wanted = vec![0.0; COUNT];
    reference::to_f32(&x, &mut wanted);
    let from = gpu.upload(Class::Scratch, "check", &[COUNT], &x)?;
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[COUNT])?;
        ops::convert(rec, &from, &out, Rounding::Nearest)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(
        |verdict| verdict,
        |found| {
            // Widening is exact, so casting back must give the bits uploaded.
            let found: Vec<f16> = found.iter().copied().map(f16::from_f32).collect();
            judge_halves(&found, &x)
        },
    ))
}

fn finite(gpu: &Gpu) -> Result<Verdict> {
    let clean = storable(DType::F16, numbers(&mut operands(1302), COUNT, 65_000.0));
    let mut wanted = vec![0u32; 4];
    let mut tensors = Vec::new();
    // A clean tensor, then one bad element in each of three places; the last overflows.
    for (word, bad) in [None, Some((0, f32::NAN)), Some((COUNT - 1, f32::INFINITY)), Some((500, 65_520.0))]
        .into_iter()
        .enumerate()
    {
        let mut x = clean.clone();
        if let Some((at, value)) = bad {
            x[at] = f16::from_f32(value).to_f32();
        }
        reference::finite(&x, &mut wanted, word, 1 << word);
        tensors.push(place_as(gpu, DType::F16, &[COUNT], &x)?);
    }
    let found = thrice(gpu, |rec| {
        let status = gpu.upload(Class::Scratch, "check", &[4], &[0u32; 4])?;
        for (word, x) in tensors.iter().enumerate() {
            ops::finite(rec, x, &status, word, 1 << word)?;
        }
        Ok(status)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact::<u32>(&found, &wanted)))
}

const COLUMNS: usize = 5;

fn column_sums(gpu: &Gpu, rows: usize) -> Result<Verdict> {
    let x = storable(DType::F16, numbers(&mut operands(1303), rows * COLUMNS, 1.0));
    let mut wanted = vec![0.0; COLUMNS];
    reference::column_sums(&x, &mut wanted, false);
    let tensor = place_as(gpu, DType::F16, &[rows, COLUMNS], &x)?;
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[COLUMNS])?;
        ops::column_sums(rec, &tensor, &out, false)?;
        Ok(out)
    })?;
    let sizes =
        |column: usize| x.iter().skip(column).step_by(COLUMNS).map(|x| f64::from(*x).abs()).sum::<f64>();
    Ok(found.map_or_else(
        |verdict| verdict,
        |found| judge(&found, &wanted, |column| 2.0 * gamma(256 * 2) * sizes(column)),
    ))
}

fn norms(gpu: &Gpu) -> Result<Verdict> {
    const ROWS: usize = 40;
    let mut x = storable(DType::F16, numbers(&mut operands(1304), ROWS * COLUMNS, 1.0));
    x.iter_mut().skip(2).step_by(COLUMNS).for_each(|x| *x = 0.0);
    let mut wanted = vec![0.0; COLUMNS];
    reference::inverse_norms(&x, &mut wanted);
    let tensor = place_as(gpu, DType::F16, &[ROWS, COLUMNS], &x)?;
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[COLUMNS])?;
        ops::inverse_norms(rec, &tensor, &out)?;
        Ok(out)
    })?;
    // Half the error of the sum of squares, then a root and a quotient of 2.5 units in the last place each.
    let bound = |column: usize| 2.0 * gamma(ROWS + 6) * f64::from(wanted[column]);
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn norm_forward(gpu: &Gpu) -> Result<Verdict> {
    const ROWS: usize = 70;
    const EPSILON: f32 = 1e-5;
    let mut walk = operands(1313);
    let (x, gain) = (numbers(&mut walk, ROWS * COLUMNS, 1.0), numbers(&mut walk, COLUMNS, 2.0));
    let (mut scales, mut wanted) = (vec![0.0; ROWS], vec![0.0; ROWS * COLUMNS]);
    reference::norm_forward(&x, &gain, &mut scales, &mut wanted, EPSILON);
    let (x, gain) = (place(gpu, &[ROWS, COLUMNS], &x)?, place(gpu, &[COLUMNS], &gain)?);
    let found = thrice_as(gpu, DType::F16, |rec| {
        let (scale, out) = (poisoned(gpu, &[ROWS])?, poisoned_as(gpu, DType::F16, &[ROWS, COLUMNS])?);
        ops::norm_forward(rec, &x, &gain, &scale, &out, EPSILON)?;
        Ok(out)
    })?;
    // A sum of squares, a quotient, a root, another quotient and two products, each rounded in f32.
    let error = |i: usize| 2.0 * gamma(COLUMNS + 12) * f64::from(wanted[i]).abs();
    let bound = |i: usize| stored_bound(DType::F16, wanted[i], error(i));
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

const RATE: f32 = 0.3;

fn dropout() -> Dropout {
    Dropout { rate: RATE, key: Key::new(5, Stream::Dropout(2)) }
}

fn forward(gpu: &Gpu, activation: Activation) -> Result<Verdict> {
    let x = storable(DType::F16, numbers(&mut operands(1305), COUNT, 6.0));
    let mut wanted = vec![0.0; COUNT];
    reference::activation_forward(&x, &mut wanted, activation, Some((dropout(), INDEX)));
    let (pre, step) = (place_as(gpu, DType::F16, &[COUNT], &x)?, step(gpu)?);
    let dropping = Some(Dropping { dropout: dropout(), step: &step });
    let found = thrice_as(gpu, DType::F16, |rec| {
        let out = poisoned_as(gpu, DType::F16, &[COUNT])?;
        ops::activation_forward(rec, &pre, &out, activation, dropping)?;
        Ok(out)
    })?;
    let error = |i: usize| activation_error(activation, x[i]) / f64::from(1.0 - RATE);
    let bound = |i: usize| stored_bound(DType::F16, wanted[i], error(i));
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn backward(gpu: &Gpu, activation: Activation) -> Result<Verdict> {
    let x = storable(DType::F16, numbers(&mut operands(1306), COUNT, 6.0));
    let g = storable(DType::F16, numbers(&mut operands(1307), COUNT, 1.0));
    let mut wanted = vec![0.0; COUNT];
    reference::activation_backward(&g, &x, &mut wanted, activation, Some((dropout(), INDEX)));
    let grad = place_as(gpu, DType::F16, &[COUNT], &g)?;
    let (pre, step) = (place_as(gpu, DType::F16, &[COUNT], &x)?, step(gpu)?);
    let dropping = Some(Dropping { dropout: dropout(), step: &step });
    let found = thrice_as(gpu, DType::F16, |rec| {
        let out = poisoned_as(gpu, DType::F16, &[COUNT])?;
        ops::activation_backward(rec, &grad, &pre, &out, activation, dropping)?;
        Ok(out)
    })?;
    let error = |i: usize| f64::from(g[i]).abs() * derivative_error(activation, x[i]) / f64::from(1.0 - RATE);
    let bound = |i: usize| stored_bound(DType::F16, wanted[i], error(i));
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn scale_apply(gpu: &Gpu) -> Result<Verdict> {
    let x = hard_numbers();
    let mut wanted = vec![f16::ZERO; COUNT];
    reference::scale_gradient(&x, &mut wanted, 1024.0);
    let (from, scale) = (place(gpu, &[COUNT], &x)?, LossScale::new(gpu, 1024.0)?);
    let found = thrice::<f16>(gpu, |rec| {
        let out = poisoned_as(gpu, DType::F16, &[COUNT])?;
        ops::scale_gradient(rec, &from, &out, &scale)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_halves(&found, &wanted)))
}

/// A power of two rounds nothing.
fn scale_apply_f32(gpu: &Gpu) -> Result<Verdict> {
    let x = numbers(&mut operands(1314), COUNT, 1.0);
    let wanted: Vec<f32> = x.iter().map(|x| x * 1024.0).collect();
    let (from, scale) = (place(gpu, &[COUNT], &x)?, LossScale::new(gpu, 1024.0)?);
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[COUNT])?;
        ops::scale_gradient(rec, &from, &out, &scale)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

/// Gradients that are all finite, and gradients of which one is infinite.
fn gradients(gpu: &Gpu) -> Result<[Tensor; 2]> {
    let fine = numbers(&mut operands(1310), COUNT, 1e30);
    let mut broken = fine.clone();
    broken[700] = f32::INFINITY;
    Ok([place(gpu, &[COUNT], &fine)?, place(gpu, &[COUNT], &broken)?])
}

fn scale_decide(gpu: &Gpu, at_once: bool) -> Result<Verdict> {
    const PATIENCE: u32 = 2;
    let [fine, broken] = gradients(gpu)?;
    // Too large at first, then fine for long enough to double twice, though no weight moves in one of the steps, and too large
    // again.
    let steps = [true, true, false, false, false, false, false, true, false];
    let mut state = LossScaleState::new(65536.0);
    for (at, &found) in steps.iter().enumerate() {
        reference::decide_scale(&mut state, found, PATIENCE, at != 3);
    }
    let found = thrice::<u32>(gpu, |rec| {
        let scale = LossScale::new(gpu, 65536.0)?;
        for (at, broke) in steps.into_iter().enumerate() {
            let watched = [&fine, if broke { &broken } else { &fine }];
            if at_once {
                let watched = watched.map(Tensor::clone);
                ops::watch_and_decide(rec, &watched, &scale, PATIENCE, at != 3)?;
                continue;
            }
            watched.iter().try_for_each(|grads| ops::watch_gradient(rec, grads, &scale))?;
            ops::decide_scale(rec, &scale, PATIENCE, at != 3)?;
        }
        Ok(scale.tensor().clone())
    })?;
    let LossScaleState { scale, factor, taken, calm, skipped } = state;
    let wanted = [scale.to_bits(), factor.to_bits(), taken, calm, skipped, 0];
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

/// The scale after two steps that counted, and then a record of two updates: one that counts, and one that is skipped.
fn scaled(
    gpu: &Gpu,
    rec: &mut Recorder<'_>,
    mut update: impl FnMut(&mut Recorder<'_>, &Step) -> Result<()>,
) -> Result<()> {
    let [fine, broken] = gradients(gpu)?;
    let scale = LossScale::new(gpu, SCALE)?;
    let step = Step::new(gpu, StepValues { index: INDEX, learning_rate: 0.05, ..StepValues::forward(0) })?;
    let step = step.with_scale(scale.clone());
    for grads in [&fine, &fine, &broken] {
        ops::watch_gradient(rec, grads, &scale)?;
        ops::decide_scale(rec, &scale, 1000, true)?;
        update(rec, &step)?;
    }
    Ok(())
}

const SCALE: f32 = 1024.0;

fn adamw(gpu: &Gpu) -> Result<Verdict> {
    const COUNT: usize = 1000;
    let settings = AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };
    let mut walk = operands(1311);
    let [x, g, zeros] = [1.0, 1.0, 0.0].map(|magnitude| numbers(&mut walk, COUNT, magnitude));
    let (mut wanted, mut first, mut second) = (x.clone(), zeros.clone(), zeros.clone());
    // The third is skipped, and the two before it are the first and the second, whatever the step's number says.
    for taken in 0..2 {
        let betas = [settings.beta_1, settings.beta_2, settings.epsilon, settings.weight_decay];
        let corrections = settings.corrections(taken);
        reference::adamw(
            &mut wanted,
            &g,
            &mut first,
            &mut second,
            betas,
            COUNT,
            None,
            None,
            0.05,
            corrections,
        );
    }
    let larger: Vec<f32> = g.iter().map(|g| g * SCALE).collect();
    let grads = place(gpu, &[COUNT], &larger)?;
    let found = thrice::<f32>(gpu, |rec| {
        let values = place(gpu, &[COUNT], &x)?;
        let [first, second] = [place(gpu, &[COUNT], &zeros)?, place(gpu, &[COUNT], &zeros)?];
        scaled(gpu, rec, |rec, step| {
            ops::adamw(rec, &values, &grads, &first, &second, settings, None, None, step)
        })?;
        Ok(values)
    })?;
    // Twice what one update may err by; a correction errs by that of an exponential over what is left of it.
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| 512.0 * 2f64.powi(-24))))
}

fn sgd(gpu: &Gpu) -> Result<Verdict> {
    const COUNT: usize = 1000;
    let settings = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
    let mut walk = operands(1312);
    let [x, g, v] = [(); 3].map(|()| numbers(&mut walk, COUNT, 1.0));
    let (mut wanted, mut velocity) = (x.clone(), v.clone());
    for _ in 0..2 {
        reference::sgd(&mut wanted, &g, &mut velocity, [0.9, 0.1], COUNT, true, None, 0.05);
    }
    let larger: Vec<f32> = g.iter().map(|g| g * SCALE).collect();
    let grads = place(gpu, &[COUNT], &larger)?;
    let found = thrice::<f32>(gpu, |rec| {
        let (values, velocity) = (place(gpu, &[COUNT], &x)?, place(gpu, &[COUNT], &v)?);
        scaled(gpu, rec, |rec, step| ops::sgd(rec, &values, &grads, &velocity, settings, None, step))?;
        Ok(values)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| 32.0 * 2f64.powi(-24))))
}
