//! Checks of optimizers that scale updates by norms of parameters.

use super::harness::{Check, Verdict, judge, numbers, operands, place, thrice};
use super::step::{INDEX, step};
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::{self, BlockRange, Lamb, Lars, LossScale, ParamRange, Step, StepValues};
use crate::random::Walk;
use crate::reference::{self, bound::UNIT};

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    for (scaled, flag) in [(false, ""), (true, ".scaled")] {
        for (case, quads) in [(RAGGED, ""), (VECTORS, ".quads")] {
            table.push(Check::new(format!("fretwork.layerwise.lars.f32{quads}{flag}"), move |gpu| {
                lars(gpu, case, scaled)
            }));
            for (births, born) in [(false, ""), (true, ".births")] {
                let name = format!("fretwork.layerwise.lamb.f32{born}{quads}{flag}");
                table.push(Check::new(name, move |gpu| lamb(gpu, case, births, scaled)));
            }
        }
    }
    table
}

/// Parameters of a span: two of blocks, one of several chunks, an empty one, and biases without weight decay.
#[derive(Clone, Copy)]
struct Case {
    params: [ParamRange; 5],
    blocks: [BlockRange; 2],
    elements: usize,
}

impl Case {
    /// Random numbers, 0 between the parameters.
    fn numbers(&self, walk: &mut Walk) -> Vec<f32> {
        let mut all = numbers(walk, self.elements, 1.0);
        let mut from = 0;
        for param in self.params {
            all[from..param.first].fill(0.0);
            from = param.end();
        }
        all[from..].fill(0.0);
        all
    }
}

const fn range(first: usize, len: usize, decays: bool) -> ParamRange {
    ParamRange { first, len, decays }
}

const BLOCKS: [BlockRange; 2] = [
    BlockRange { first: 128, block: 8, nnz: 3, word: 1 },
    BlockRange { first: 384, block: 16, nnz: 2, word: 5 },
];

/// Offsets that vectors of four may have.
const VECTORS: Case = Case {
    params: [
        range(128, 192, true),
        range(384, 512, true),
        range(900, 0, true),
        range(904, 9001, true),
        range(9912, 10, false),
    ],
    blocks: BLOCKS,
    elements: 9924,
};

/// A parameter that ends where the next begins, in the middle of four elements.
const RAGGED: Case = Case {
    params: [
        range(128, 192, true),
        range(384, 512, true),
        range(900, 0, true),
        range(900, 3001, true),
        range(3901, 10, false),
    ],
    blocks: BLOCKS,
    elements: 3914,
};

/// Scale of the gradients in half precision.
const SCALE: f32 = 1024.0;

/// The step of the check, or one with a loss scale: the scale's first update.
fn step_of(gpu: &Gpu, scaled: bool) -> Result<Step> {
    if !scaled {
        return step(gpu);
    }
    let values = StepValues { learning_rate: 0.05, ..StepValues::forward(INDEX) };
    Ok(Step::new(gpu, values)?.with_scale(LossScale::new(gpu, SCALE)?))
}

/// Records the update: with a loss scale after the decision that it counts, and once more in a step that is skipped.
fn record(
    gpu: &Gpu,
    rec: &mut Recorder<'_>,
    step: &Step,
    update: impl Fn(&mut Recorder<'_>) -> Result<()>,
) -> Result<()> {
    let Some(scale) = step.scale() else { return update(rec) };
    ops::decide_scale(rec, scale, 1000, true)?;
    update(rec)?;
    ops::watch_gradient(rec, &place(gpu, &[1], &[f32::INFINITY])?, scale)?;
    ops::decide_scale(rec, scale, 1000, true)?;
    update(rec)
}

fn grads_of(gpu: &Gpu, g: &[f32], scaled: bool) -> Result<Tensor> {
    let factor = if scaled { SCALE } else { 1.0 };
    place(gpu, &[g.len()], &g.iter().map(|g| g * factor).collect::<Vec<_>>())
}

fn lars(gpu: &Gpu, case: Case, scaled: bool) -> Result<Verdict> {
    let settings = Lars { momentum: 0.9, trust: 0.5, weight_decay: 0.1 };
    let mut walk = operands(912);
    let [x, g, v] = [(); 3].map(|()| case.numbers(&mut walk));
    let (mut wanted, mut state) = (x.clone(), v.clone());
    reference::lars(&mut wanted, &g, &mut state, [0.9, 0.5, 0.1], &case.params, 0.05);
    let grads = grads_of(gpu, &g, scaled)?;
    let mut velocity = None;
    let found = thrice::<f32>(gpu, |rec| {
        let step = step_of(gpu, scaled)?;
        let values = place(gpu, &[case.elements], &x)?;
        let fresh = &*velocity.insert(place(gpu, &[case.elements], &v)?);
        record(gpu, rec, &step, |rec| ops::lars(rec, &values, &grads, fresh, settings, &case.params, &step))?;
        Ok(values)
    })?;
    // The ratio is of two norms, each a sum of squares of fewer than 32 roundings in the kernel's order, and of their roots.
    judged(gpu, found, &wanted, &[(velocity, &state)], 48.0 * UNIT)
}

fn lamb(gpu: &Gpu, case: Case, births: bool, scaled: bool) -> Result<Verdict> {
    let settings = Lamb { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-6, weight_decay: 0.1 };
    // Words outside of the ranges would be wrong ages.
    let born = [9, 0, 1, INDEX, 9, INDEX - 3, 2];
    let mut walk = operands(913);
    let [x, g, m] = [(); 3].map(|()| case.numbers(&mut walk));
    let v: Vec<f32> = case.numbers(&mut walk).iter().map(|x| x * x).collect();
    let (mut wanted, mut first, mut second) = (x.clone(), m.clone(), v.clone());
    let before = if scaled { 0 } else { INDEX };
    reference::lamb(
        &mut wanted,
        &g,
        &mut first,
        &mut second,
        [0.9, 0.999, 1e-6, 0.1],
        &case.params,
        births.then_some(reference::Births { born: &born, blocks: &case.blocks, moves: before + 1 }),
        0.05,
        settings.corrections(before),
    );
    let born = gpu.upload(Class::Scratch, "check", &[born.len()], &born)?;
    let grads = grads_of(gpu, &g, scaled)?;
    let (mut found_first, mut found_second) = (None, None);
    let shape = [case.elements];
    let found = thrice::<f32>(gpu, |rec| {
        let step = step_of(gpu, scaled)?;
        let values = place(gpu, &shape, &x)?;
        let a = &*found_first.insert(place(gpu, &shape, &m)?);
        let b = &*found_second.insert(place(gpu, &shape, &v)?);
        let born = births.then_some((&born, &case.blocks[..]));
        record(gpu, rec, &step, |rec| {
            ops::lamb(rec, &values, &grads, a, b, settings, &case.params, born, &step)
        })?;
        Ok(values)
    })?;
    // As AdamW, whose direction is below 100 here, with the ratio of two norms.
    judged(gpu, found, &wanted, &[(found_first, &first), (found_second, &second)], 256.0 * UNIT)
}

/// Judges the values and then the state.
fn judged(
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
