//! Checks of random bases, whose bits are those of the twins.

use super::harness::{Check, Verdict, judge_exact, numbers, operands, place, poisoned, thrice};
use super::step::{INDEX, step};
use crate::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::{self, BasisLayer, BasisRange, Directions, LossScale};
use crate::random::{Key, Stream};
use crate::reference;

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    for (redraw, drawn) in [(false, ""), (true, ".redraw")] {
        for (firsts, quads) in [(RAGGED, ""), (VECTORS, ".quads")] {
            let base = Directions { count: COUNT, redraw };
            table.push(Check::new(format!("fretwork.basis.dot.f32{quads}{drawn}"), move |gpu| {
                dot(gpu, firsts, base)
            }));
            table.push(Check::new(format!("fretwork.basis.add.f32{quads}{drawn}"), move |gpu| {
                add(gpu, firsts, base)
            }));
        }
    }
    for (scaled, flag) in [(false, ""), (true, ".scaled")] {
        table.push(Check::new(format!("fretwork.basis.sum.f32{flag}"), move |gpu| sum(gpu, scaled)));
    }
    table
}

/// Directions of the check: three groups, the last not full.
const COUNT: usize = 19;
const COLUMNS: usize = 24;
const CHUNK: usize = 64;
/// Elements of three parameters, of several chunks and of parts of a cell.
const LENGTHS: [usize; 3] = [300, 10, 64];
const ELEMENTS: usize = 400;
/// First elements where vectors of four are read, and where they are not.
const VECTORS: [usize; 3] = [8, 312, 336];
const RAGGED: [usize; 3] = [3, 303, 313];

fn ranges(firsts: [usize; 3]) -> [BasisRange; 3] {
    [0, 1, 2].map(|at| {
        let key = Key::new(7, Stream::Basis(at as u32));
        BasisRange { first: firsts[at], len: LENGTHS[at], key, layer: at % 2 }
    })
}

/// The step whose signs are drawn.
fn drawn(base: Directions) -> u32 {
    if base.redraw { INDEX } else { 0 }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn exact(found: Result<Vec<f32>, Verdict>, wanted: &[f32]) -> Verdict {
    found.map_or_else(|verdict| verdict, |found| judge_exact(&bits(&found), &bits(wanted)))
}

fn dot(gpu: &Gpu, firsts: [usize; 3], base: Directions) -> Result<Verdict> {
    let (g, ranges, step) = (numbers(&mut operands(914), ELEMENTS, 1.0), ranges(firsts), step(gpu)?);
    let rows = ops::basis_rows(&ranges, CHUNK);
    let mut wanted = vec![0.0; rows * COLUMNS];
    reference::basis_dot(&g, &mut wanted, &ranges, COLUMNS, CHUNK, drawn(base));
    let grads = place(gpu, &[ELEMENTS], &g)?;
    let found = thrice::<f32>(gpu, |rec| {
        let partials = poisoned(gpu, &[rows, COLUMNS])?;
        ops::basis_dot(rec, &grads, &partials, &ranges, base, [CHUNK, 0], &step)?;
        Ok(partials)
    })?;
    Ok(exact(found, &wanted))
}

fn add(gpu: &Gpu, firsts: [usize; 3], base: Directions) -> Result<Verdict> {
    let mut walk = operands(915);
    let (x, steps) = (numbers(&mut walk, ELEMENTS, 1.0), numbers(&mut walk, 2 * COLUMNS, 0.1));
    let (ranges, step) = (ranges(firsts), step(gpu)?);
    let mut wanted = x.clone();
    reference::basis_add(&mut wanted, &steps, &ranges, COLUMNS, drawn(base));
    let both = [vec![f32::NAN; steps.len()], steps].concat();
    let coordinates = place(gpu, &[2, 2, COLUMNS], &both)?;
    let found = thrice::<f32>(gpu, |rec| {
        let values = place(gpu, &[ELEMENTS], &x)?;
        ops::basis_add(rec, &values, &coordinates, &ranges, base, &step)?;
        Ok(values)
    })?;
    Ok(exact(found, &wanted))
}

fn sum(gpu: &Gpu, scaled: bool) -> Result<Verdict> {
    const SCALE: f32 = 1024.0;
    let partials = numbers(&mut operands(916), 9 * COLUMNS, 3.0);
    let layers = [
        BasisLayer { rows: [0, 6], elements: 310, share: 0.75 },
        BasisLayer { rows: [6, 9], elements: 100, share: 0.25 },
    ];
    let mut wanted = vec![0.0; 4 * COLUMNS];
    for (at, layer) in layers.iter().enumerate() {
        let rows = &partials[layer.rows[0] * COLUMNS..layer.rows[1] * COLUMNS];
        let mut both = [0.0; 2 * COLUMNS];
        reference::basis_sum(rows, &mut both, layer.sizes(), COUNT, 0.05);
        wanted[at * COLUMNS..][..COLUMNS].copy_from_slice(&both[..COLUMNS]);
        wanted[(2 + at) * COLUMNS..][..COLUMNS].copy_from_slice(&both[COLUMNS..]);
    }
    let base = Directions { count: COUNT, redraw: true };
    let factor = if scaled { SCALE } else { 1.0 };
    let larger: Vec<_> = partials.iter().map(|x| x * factor).collect();
    let partials = place(gpu, &[9, COLUMNS], &larger)?;
    let mut last: Option<Tensor> = None;
    let found = thrice::<f32>(gpu, |rec| {
        let mut step = step(gpu)?;
        let coordinates = poisoned(gpu, &[2, 2, COLUMNS])?;
        if scaled {
            let scale = LossScale::new(gpu, SCALE)?;
            step = step.with_scale(scale.clone());
            ops::decide_scale(rec, &scale, 1000, true)?;
            ops::basis_sum(rec, &partials, &coordinates, &layers, base, &step)?;
            // A step that is skipped, into another tensor.
            ops::watch_gradient(rec, &place(gpu, &[1], &[f32::NAN])?, &scale)?;
            ops::decide_scale(rec, &scale, 1000, true)?;
            let skipped = &*last.insert(poisoned(gpu, &[2, 2, COLUMNS])?);
            ops::basis_sum(rec, &partials, skipped, &layers, base, &step)?;
            return Ok(coordinates);
        }
        ops::basis_sum(rec, &partials, &coordinates, &layers, base, &step)?;
        Ok(coordinates)
    })?;
    match (exact(found, &wanted), last) {
        (Verdict::Right(_), Some(skipped)) => {
            Ok(judge_exact(&gpu.read::<f32>(&skipped)?.wait()?, &[0.0; 4 * COLUMNS]))
        }
        (verdict, _) => Ok(verdict),
    }
}
