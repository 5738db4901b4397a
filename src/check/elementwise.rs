//! Checks of activations, scans, random numbers and column sums.

use super::activation::{activation_error, derivative_error};
use super::harness::{Check, Verdict, judge, judge_exact, numbers, operands, place, poisoned, thrice};
use super::step::{COUNT, INDEX, step};
use crate::Result;
use crate::gpu::{Class, Gpu};
use crate::ops::{self, Activation, Dropout, Dropping};
use crate::random::{Key, Stream};
use crate::reference::{self, bound::gamma};

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
