//! Checks of the kernels that measure peak bandwidth and arithmetic.

use super::harness::{Check, Verdict, judge, judge_exact, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::Gpu;
use crate::ops::{self, Transpose};
use crate::reference::{self, Epilogue, bound::gamma};

pub(super) fn table() -> Vec<Check> {
    let mut table =
        vec![Check::new("fretwork.ceiling.copy.f32", copy), Check::new("fretwork.naive.tile.f32", naive)];
    for rounds in [0, 1, 5] {
        table.push(Check::new(format!("fretwork.ceiling.fma.f32 {rounds} rounds"), move |gpu| {
            fma(gpu, rounds)
        }));
    }
    table
}

fn copy(gpu: &Gpu) -> Result<Verdict> {
    let x = numbers(&mut operands(1100), 5 * 1021, 1.0);
    let tensor = place(gpu, &[x.len()], &x)?;
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[x.len()])?;
        ops::ceiling::copy(rec, &tensor, &out)?;
        Ok(out)
    })?;
    let mut wanted = vec![0.0; x.len()];
    reference::ceiling::copy(&x, &mut wanted);
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

/// A factor near one, so that every step changes the result.
fn fma(gpu: &Gpu, rounds: u32) -> Result<Verdict> {
    const N: usize = 777;
    let line = [1.0 - 1.0 / 256.0, 1.0 / 64.0];
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[N])?;
        ops::ceiling::fma(rec, &out, rounds, line)?;
        Ok(out)
    })?;
    let mut wanted = vec![0.0; N];
    reference::ceiling::fma(&mut wanted, rounds, line);
    // Steps that shrink what they are given shrink its error too; a driver may round twice in one.
    let steps = 2 * rounds as usize * ops::ceiling::MULTIPLY_ADDS / 12;
    let bound = |at: usize| gamma(steps + 12) * f64::from(wanted[at].abs());
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn naive(gpu: &Gpu) -> Result<Verdict> {
    let [m, n, k] = [48, 32, 64];
    let mut walk = operands(1101);
    let (lhs, rhs) = (numbers(&mut walk, m * k, 1.0), numbers(&mut walk, k * n, 1.0));
    let (left, right) = (place(gpu, &[m, k], &lhs)?, place(gpu, &[k, n], &rhs)?);
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[m, n])?;
        ops::naive(rec, &left, &right, &out)?;
        Ok(out)
    })?;
    let mut wanted = vec![0.0; m * n];
    reference::dense(&lhs, &rhs, &mut wanted, [m, n, k], Transpose::NN, Epilogue::None);
    // Operands are below one, so a sum of magnitudes is below k.
    let bound = |_| 2.0 * gamma(k) * k as f64;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}
