//! Checks of optimizers and of masks on dense values.

use super::harness::{Check, Verdict, judge, judge_exact, numbers, operands, place, thrice};
use super::step::{ADAM, COUNT, INDEX, step};
use crate::Result;
use crate::gpu::{Class, Gpu, Tensor};
use crate::ops::{self, Births, BlockRange, Parts, Sgd};
use crate::reference::{self, bound::UNIT};
use crate::sparse::{BlockMask, upload_mask};

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    table.push(Check::new("fretwork.mask.apply.f32", mask));
    for masked in [false, true] {
        let suffix = if masked { ".mask" } else { "" };
        for nesterov in [false, true] {
            let name =
                format!("fretwork.optimizer.sgd.f32{}{suffix}", if nesterov { ".nesterov" } else { "" });
            table.push(Check::new(name, move |gpu| sgd(gpu, nesterov, masked, COUNT)));
        }
        for births in [false, true] {
            let births_flag = if births { ".births" } else { "" };
            let name = format!("fretwork.optimizer.adamw.f32{births_flag}{suffix}");
            // Four blocks of 16.
            table.push(Check::new(name, move |gpu| adamw(gpu, births, masked, [4, 16, 16])));
        }
    }
    table.push(Check::new("fretwork.optimizer.sgd.f32.quads parts", sgd_parts));
    table.push(Check::new("fretwork.optimizer.adamw.f32.births.quads parts", adamw_parts));
    // A count that is no multiple of four.
    let ragged = COUNT - 1;
    table.push(Check::new("fretwork.optimizer.sgd.f32 999", move |gpu| sgd(gpu, false, false, ragged)));
    table.push(Check::new("fretwork.optimizer.adamw.f32 999", move |gpu| {
        adamw(gpu, false, false, [1, 1, ragged])
    }));
    table
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
    reference::sgd(&mut wanted, &g, &mut state, decay, count, nesterov, masked.then_some(&mask), 0.05);
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
    let blocks = [BlockRange { first: 0, block: 16, nnz: 4, word: 0 }];
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
        elements,
        mask.as_ref(),
        births.then_some(reference::Births { born: &born, blocks: &blocks, moves: INDEX + 1 }),
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

/// A span of two matrices of blocks, with other parameters before, between and behind them; weight decay ends in the middle.
const PARTS: [BlockRange; 2] = [
    BlockRange { first: 128, block: 8, nnz: 3, word: 1 },
    BlockRange { first: 384, block: 16, nnz: 2, word: 5 },
];
const SPAN: usize = 960;
const DECAYING: usize = 700;

fn sgd_parts(gpu: &Gpu) -> Result<Verdict> {
    let settings = Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.1 };
    let mut walk = operands(910);
    let [x, g, v] = [(); 3].map(|()| numbers(&mut walk, SPAN, 1.0));
    let step = step(gpu)?;
    let (mut wanted, mut state) = (x.clone(), v.clone());
    reference::sgd(&mut wanted, &g, &mut state, [0.9, 0.1], DECAYING, false, None, 0.05);
    let grads = place(gpu, &[SPAN], &g)?;
    let mut velocity = None;
    let found = thrice::<f32>(gpu, |rec| {
        let values = place(gpu, &[SPAN], &x)?;
        let fresh = velocity.insert(place(gpu, &[SPAN], &v)?);
        let parts = Parts { decaying: DECAYING, births: None, mask: None };
        ops::sgd_parts(rec, [&values, &grads, fresh], settings, parts, &step)?;
        Ok(values)
    })?;
    updated(gpu, found, &wanted, &[(velocity, &state)], 8.0 * UNIT)
}

fn adamw_parts(gpu: &Gpu) -> Result<Verdict> {
    // Words outside of the ranges would be wrong ages.
    let born = [9, 0, 1, INDEX, 9, INDEX - 3, 2];
    let mut walk = operands(911);
    let [x, g, m] = [(); 3].map(|()| numbers(&mut walk, SPAN, 1.0));
    let v: Vec<f32> = numbers(&mut walk, SPAN, 1.0).iter().map(|x| x * x).collect();
    let step = step(gpu)?;
    let (mut wanted, mut first, mut second) = (x.clone(), m.clone(), v.clone());
    reference::adamw(
        &mut wanted,
        &g,
        &mut first,
        &mut second,
        [ADAM.beta_1, ADAM.beta_2, ADAM.epsilon, ADAM.weight_decay],
        DECAYING,
        None,
        Some(reference::Births { born: &born, blocks: &PARTS, moves: INDEX + 1 }),
        0.05,
        ADAM.corrections(INDEX),
    );
    let born = gpu.upload(Class::Scratch, "check", &[born.len()], &born)?;
    let grads = place(gpu, &[SPAN], &g)?;
    let (mut found_first, mut found_second) = (None, None);
    let found = thrice::<f32>(gpu, |rec| {
        let values = place(gpu, &[SPAN], &x)?;
        let a = found_first.insert(place(gpu, &[SPAN], &m)?);
        let b = found_second.insert(place(gpu, &[SPAN], &v)?);
        let births = Some(Births { words: &born, blocks: &PARTS });
        let parts = Parts { decaying: DECAYING, births, mask: None };
        ops::adamw_parts(rec, [&values, &grads, a, b], ADAM, parts, &step)?;
        Ok(values)
    })?;
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
