//! Checks of everything that is not a matmul.

use super::activation::{activation_error, derivative_error};
use super::harness::{Check, Verdict, judge, judge_exact, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::{Class, Gpu, Tensor};
use crate::ops::{self, Activation, AdamW, Dropout, Dropping, IGNORED, Sgd, Step, StepValues};
use crate::random::{Key, Stream};
use crate::reference::{self, bound::UNIT, bound::gamma};
use crate::sparse::{BlockMask, upload_mask};

/// More than one workgroup, and not a whole number of them.
const COUNT: usize = 1000;

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    for activation in
        [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::AllRelu { slope: -0.6 }]
    {
        for rate in [0.0, 0.3] {
            let name = |pass| format!("fretwork.activation.{pass}.f32({activation}, dropout {rate})");
            table.push(Check::new(name("forward"), move |gpu| forward(gpu, activation, rate)));
            table.push(Check::new(name("backward"), move |gpu| backward(gpu, activation, rate)));
        }
    }
    table.push(Check::new("fretwork.activation.forward.f32(relu) of what is not finite", not_finite));
    table.push(Check::new("fretwork.finite.scan.f32", finite));
    table.push(Check::new("fretwork.finite.activity.f32", activity));
    table.push(Check::new("fretwork.loss.softmax.f32", softmax));
    table.push(Check::new("fretwork.loss.soft.f32", soft));
    table.push(Check::new("fretwork.loss.mse.f32", mse));
    table.push(Check::new("fretwork.mask.apply.f32", mask));
    for masked in [false, true] {
        let suffix = if masked { ".mask" } else { "" };
        for nesterov in [false, true] {
            let name =
                format!("fretwork.optimizer.sgd.f32{}{suffix}", if nesterov { ".nesterov" } else { "" });
            table.push(Check::new(name, move |gpu| sgd(gpu, nesterov, masked, COUNT)));
        }
        for births in [false, true] {
            let block = if births { ".b16.births" } else { "" };
            let name = format!("fretwork.optimizer.adamw.f32{block}{suffix}");
            // Four blocks of 16.
            table.push(Check::new(name, move |gpu| adamw(gpu, births, masked, [4, 16, 16])));
        }
    }
    // A count that is no multiple of four.
    let ragged = COUNT - 1;
    table.push(Check::new("fretwork.optimizer.sgd.f32 999", move |gpu| sgd(gpu, false, false, ragged)));
    table.push(Check::new("fretwork.optimizer.adamw.f32 999", move |gpu| {
        adamw(gpu, false, false, [1, 1, ragged])
    }));
    table.push(Check::new("fretwork.random.fill.u32", random_bits));
    table.push(Check::new("fretwork.random.fill.f32.uniform", random_uniform));
    for add in [false, true] {
        for (rows, columns) in [(1, 5), (256, 5), (257, 5), (70_000, 5), (1, 8), (257, 68)] {
            let suffix = if add { ".add" } else { "" };
            let name = format!("fretwork.reduce.sum.f32{suffix} {rows}x{columns}");
            table.push(Check::new(name, move |gpu| column_sums(gpu, [rows, columns], add)));
        }
    }
    table
}

const INDEX: u32 = 9;

fn step(gpu: &Gpu) -> Result<Step> {
    Step::new(
        gpu,
        StepValues {
            index: INDEX,
            learning_rate: 0.05,
            row_scale: 0.125,
            corrections: ADAM.corrections(INDEX),
            moves: INDEX + 1,
        },
    )
}

const ADAM: AdamW = AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };

fn dropout(rate: f32) -> Dropout {
    Dropout { rate, key: Key::new(5, Stream::Dropout(1)) }
}

/// Small and large arguments, both signs, and zero.
fn arguments(case: u32) -> Vec<f32> {
    let mut walk = operands(case);
    let mut x = numbers(&mut walk, COUNT, 6.0);
    x[..8].copy_from_slice(&[0.0, -0.0, 30.0, -30.0, 100.0, -100.0, 1e-20, -1e-20]);
    x
}

fn forward(gpu: &Gpu, activation: Activation, rate: f32) -> Result<Verdict> {
    let x = arguments(900);
    let mut wanted = vec![0.0; COUNT];
    let twin = (rate > 0.0).then(|| (dropout(rate), INDEX));
    reference::activation_forward(&x, &mut wanted, activation, twin);
    let (pre, step) = (place(gpu, &[COUNT], &x)?, step(gpu)?);
    let dropping = (rate > 0.0).then(|| Dropping { dropout: dropout(rate), step: &step });
    let found = thrice(gpu, |rec| {
        let out = poisoned(gpu, &[COUNT])?;
        ops::activation_forward(rec, &pre, &out, activation, dropping)?;
        Ok(out)
    })?;
    let bound = |i: usize| activation_error(activation, x[i]) / f64::from(1.0 - rate);
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn backward(gpu: &Gpu, activation: Activation, rate: f32) -> Result<Verdict> {
    let x = arguments(901);
    let g = numbers(&mut operands(902), COUNT, 1.0);
    let mut wanted = vec![0.0; COUNT];
    let twin = (rate > 0.0).then(|| (dropout(rate), INDEX));
    reference::activation_backward(&g, &x, &mut wanted, activation, twin);
    let (grad, pre, step) = (place(gpu, &[COUNT], &g)?, place(gpu, &[COUNT], &x)?, step(gpu)?);
    let dropping = (rate > 0.0).then(|| Dropping { dropout: dropout(rate), step: &step });
    let found = thrice(gpu, |rec| {
        let out = poisoned(gpu, &[COUNT])?;
        ops::activation_backward(rec, &grad, &pre, &out, activation, dropping)?;
        Ok(out)
    })?;
    let bound = |i: usize| f64::from(g[i]).abs() * derivative_error(activation, x[i]) / f64::from(1.0 - rate);
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

/// NaN and infinity pass through ReLU, so that they show in the output; their neighbours are unchanged.
fn not_finite(gpu: &Gpu) -> Result<Verdict> {
    let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, -1.0, 0.0, f32::MAX, f32::MIN];
    let pre = place(gpu, &[x.len()], &x)?;
    let found = thrice::<f32>(gpu, |rec| {
        let out = place(gpu, &[x.len()], &[0.5; 8])?;
        ops::activation_forward(rec, &pre, &out, Activation::Relu, None)?;
        Ok(out)
    });
    // NaN equals nothing: finite numbers are compared, and the places of all others.
    let plain = |x: f32| if x.is_finite() { x.to_bits() } else { u32::MAX };
    let wanted = x.map(|x| plain(Activation::Relu.apply(x)));
    Ok(match found? {
        Ok(found) => judge_exact::<u32>(&found.into_iter().map(plain).collect::<Vec<_>>(), &wanted),
        Err(verdict) => verdict,
    })
}

fn finite(gpu: &Gpu) -> Result<Verdict> {
    let clean = numbers(&mut operands(903), COUNT, 1e30);
    let mut wanted = vec![0u32; 4];
    let mut tensors = Vec::new();
    // A clean tensor, then one bad element in each of three places.
    for (word, bad) in
        [None, Some((0, f32::NAN)), Some((COUNT - 1, f32::INFINITY)), Some((500, f32::NEG_INFINITY))]
            .into_iter()
            .enumerate()
    {
        let mut x = clean.clone();
        if let Some((at, value)) = bad {
            x[at] = value;
        }
        reference::finite(&x, &mut wanted, word, 1 << word);
        tensors.push(place(gpu, &[COUNT], &x)?);
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

fn activity(gpu: &Gpu) -> Result<Verdict> {
    const WIDTH: usize = 125;
    let row = numbers(&mut operands(905), WIDTH, 1.0);
    // Zeros of both signs, one row again and again, and one element in another row that differs.
    let zeros: Vec<f32> = (0..8 * WIDTH).map(|i| if i % 2 == 0 { 0.0 } else { -0.0 }).collect();
    let equal = row.repeat(8);
    let mut other = equal.clone();
    other[7 * WIDTH + 60] += 1.0;
    let mut single = zeros.clone();
    single[3 * WIDTH] = 1e-30;
    let cases = [zeros, equal, other, single];
    let mut wanted = vec![0; cases.len()];
    let mut tensors = Vec::new();
    for (word, x) in cases.iter().enumerate() {
        reference::activity(x, WIDTH, &mut wanted, word);
        tensors.push(place(gpu, &[8, WIDTH], x)?);
    }
    let found = thrice(gpu, |rec| {
        let status = gpu.upload(Class::Scratch, "check", &[cases.len()], &[0u32; 4])?;
        for (word, x) in tensors.iter().enumerate() {
            ops::activity(rec, x, &status, word)?;
        }
        Ok(status)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact::<u32>(&found, &wanted)))
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

/// A mask for `COUNT` elements, and its place on the device.
fn some_mask(gpu: &Gpu) -> Result<(BlockMask, Tensor)> {
    let mut walk = operands(906);
    let mask = BlockMask::from_words((0..COUNT.div_ceil(32)).map(|_| walk.bits()).collect(), COUNT)?;
    let tensor = upload_mask(gpu, &mask)?;
    Ok((mask, tensor))
}

fn mask(gpu: &Gpu) -> Result<Verdict> {
    let x = numbers(&mut operands(907), COUNT, 1.0);
    let (mask, bits) = some_mask(gpu)?;
    let mut wanted = x.clone();
    reference::mask(&mut wanted, &mask);
    let found = thrice(gpu, |rec| {
        let values = place(gpu, &[COUNT], &x)?;
        ops::mask(rec, &values, &bits)?;
        Ok(values)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact::<f32>(&found, &wanted)))
}

fn sgd(gpu: &Gpu, nesterov: bool, masked: bool, count: usize) -> Result<Verdict> {
    let settings = Sgd { momentum: 0.9, nesterov, weight_decay: 0.1 };
    let mut walk = operands(908);
    let [x, g, v] = [(); 3].map(|()| numbers(&mut walk, count, 1.0));
    let (mask, bits) = some_mask(gpu)?;
    let step = step(gpu)?;
    let (mut wanted, mut state) = (x.clone(), v.clone());
    let decay = [settings.momentum, settings.weight_decay];
    reference::sgd(&mut wanted, &g, &mut state, decay, nesterov, masked.then_some(&mask), 0.05);
    let grads = place(gpu, &[count], &g)?;
    let mut velocity = None;
    let found = thrice::<f32>(gpu, |rec| {
        let values = place(gpu, &[count], &x)?;
        let fresh = velocity.insert(place(gpu, &[count], &v)?);
        ops::sgd(rec, &values, &grads, fresh, settings, masked.then_some(&bits), &step)?;
        Ok(values)
    })?;
    // Three roundings of numbers no larger than 4, times the learning rate or not.
    updated(gpu, found, &wanted, &[(velocity, &state)], 8.0 * UNIT)
}

fn adamw(gpu: &Gpu, births: bool, masked: bool, shape: [usize; 3]) -> Result<Verdict> {
    let elements = shape.iter().product();
    // Blocks of every age.
    let born = [0, 1, INDEX - 3, INDEX];
    let mut walk = operands(909);
    let [x, g, m] = [(); 3].map(|()| numbers(&mut walk, elements, 1.0));
    let v: Vec<f32> = numbers(&mut walk, elements, 1.0).iter().map(|x| x * x).collect();
    let mask = masked
        .then(|| BlockMask::from_words((0..elements / 32).map(|_| walk.bits()).collect(), elements))
        .transpose()?;
    let bits = mask.as_ref().map(|mask| upload_mask(gpu, mask)).transpose()?;
    let step = step(gpu)?;
    let (mut wanted, mut first, mut second) = (x.clone(), m.clone(), v.clone());
    reference::adamw(
        &mut wanted,
        &g,
        &mut first,
        &mut second,
        [ADAM.beta_1, ADAM.beta_2, ADAM.epsilon, ADAM.weight_decay],
        mask.as_ref(),
        births.then_some(reference::Births { born: &born, area: 256, moves: INDEX + 1 }),
        0.05,
        ADAM.corrections(INDEX),
    );
    let born = gpu.upload(Class::Scratch, "check", &[4], &born)?;
    let grads = place(gpu, &shape, &g)?;
    let (mut found_first, mut found_second) = (None, None);
    let found = thrice::<f32>(gpu, |rec| {
        let values = place(gpu, &shape, &x)?;
        let a = found_first.insert(place(gpu, &shape, &m)?);
        let b = found_second.insert(place(gpu, &shape, &v)?);
        let (mask, born) = (bits.as_ref(), births.then_some(&born));
        ops::adamw(rec, &values, &grads, a, b, ADAM, mask, born, &step)?;
        Ok(values)
    })?;
    // Square root and quotient err by up to 2.5 units in the last place each; the direction is below 100 here, and so is a
    // correction by the error of an exponential over what is left of it.
    updated(gpu, found, &wanted, &[(found_first, &first), (found_second, &second)], 128.0 * UNIT)
}

/// Judges an optimizer's values and then its state.
fn updated(
    gpu: &Gpu,
    found: Result<Vec<f32>, Verdict>,
    wanted: &[f32],
    states: &[(Option<Tensor>, &[f32])],
    margin: f64,
) -> Result<Verdict> {
    let bound = |x: f32| margin * (1.0 + f64::from(x).abs());
    let mut verdict = match found {
        Ok(found) => judge(&found, wanted, |i| bound(wanted[i])),
        Err(verdict) => return Ok(verdict),
    };
    for (tensor, wanted) in states {
        if let (Verdict::Right(_), Some(tensor)) = (&verdict, tensor) {
            let found = gpu.read::<f32>(tensor)?.wait()?;
            verdict = judge(&found, wanted, |i| bound(wanted[i]));
        }
    }
    Ok(verdict)
}

fn random_bits(gpu: &Gpu) -> Result<Verdict> {
    let key = Key::new(77, Stream::Check(910));
    let mut wanted = vec![0; COUNT];
    reference::random_bits(&mut wanted, key, INDEX);
    let step = step(gpu)?;
    let found = thrice::<u32>(gpu, |rec| {
        let out = gpu.upload(Class::Scratch, "check", &[COUNT], &[0u32; COUNT])?;
        ops::random_bits(rec, &out, key, &step)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn random_uniform(gpu: &Gpu) -> Result<Verdict> {
    let key = Key::new(77, Stream::Check(911));
    let mut wanted = vec![0.0; COUNT];
    reference::random_uniform(&mut wanted, key, INDEX);
    let step = step(gpu)?;
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[COUNT])?;
        ops::random_uniform(rec, &out, key, &step)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn column_sums(gpu: &Gpu, [rows, columns]: [usize; 2], add: bool) -> Result<Verdict> {
    let mut walk = operands(912);
    let x = numbers(&mut walk, rows * columns, 1.0);
    let before = numbers(&mut walk, columns, 1.0);
    let mut wanted = before.clone();
    reference::column_sums(&x, &mut wanted, add);
    let tensor = place(gpu, &[rows, columns], &x)?;
    let found = thrice::<f32>(gpu, |rec| {
        let out = place(gpu, &[columns], &before)?;
        ops::column_sums(rec, &tensor, &out, add)?;
        Ok(out)
    })?;
    // Chunked sums err by no more than one rounding a term along the longest path.
    let path = 256 * 3 + 1;
    let magnitude = |column: usize| {
        1.0 + x.iter().skip(column).step_by(columns).map(|x| f64::from(*x).abs()).sum::<f64>()
    };
    let bound = |column: usize| 2.0 * gamma(path.min(rows + 1)) * magnitude(column);
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}
