//! Checks of the stages of a gate that are operations of their own.

use super::gate::{EXPERTS, INDEX, Left, Operands, TOKENS, all, key, poisoned_words, read, step, words};
use super::harness::{Check, Verdict, judge, judge_exact, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::{Class, Gpu};
use crate::ops::gate::{Draw, Gate, Inputs, Overflow};
use crate::ops::{self, ABSENT, Order, SelectK};
use crate::reference::gate::{self, Rule, Token};
use crate::reference::{self, bound::UNIT};

pub(super) fn table() -> Vec<Check> {
    let mut table = vec![
        Check::new("fretwork.gate.noise.f32", noise),
        Check::new("fretwork.gate.count.f32", count),
        Check::new("fretwork.gate.bias.f32", bias),
        Check::new("fretwork.gate.tally.f32", tally),
        Check::new("fretwork.gate.scores.f32.only", |gpu| keep(gpu, Overflow::Probability)),
        Check::new("fretwork.gate.first.f32", |gpu| keep(gpu, Overflow::Position)),
        Check::new("fretwork.gate.capacity.f32", capacity),
        Check::new("fretwork.select.radix.f32 by columns", columns),
    ];
    for valid in [false, true] {
        let suffix = if valid { ".valid" } else { "" };
        table.push(Check::new(format!("fretwork.gate.hash.f32{suffix}"), move |gpu| hash(gpu, valid)));
    }
    table
}

fn noise(gpu: &Gpu) -> Result<Verdict> {
    let mut from = Operands::new();
    from.noise[9] = f32::INFINITY;
    from.noise[10] = -120.0;
    from.noise[11] = 120.0;
    // Where the twin is not finite, the device must not be either.
    let mut wanted = vec![0.0; TOKENS * EXPERTS];
    gate::noise(&from.logits, &from.noise, &mut wanted, key(), INDEX);
    let (logits, noise) =
        (place(gpu, &[TOKENS, EXPERTS], &from.logits)?, place(gpu, &[TOKENS, EXPERTS], &from.noise)?);
    let valid = words(gpu, &[1; TOKENS])?;
    let step = step(gpu)?;
    let gate = Gate::NoisyTopK { k: 2 };
    let draw = Some(Draw { key: key(), step: &step });
    let inputs = Inputs { logits: &logits, noise: Some(&noise), bias: None, valid: Some(&valid), draw };
    let left = Left::new(gpu, gate)?;
    let found = thrice::<f32>(gpu, |rec| {
        ops::gate::forward(rec, gate, inputs, left.outputs(gate))?;
        Ok(left.noisy.clone())
    })?;
    let found = match found {
        Ok(found) => found,
        Err(verdict) => return Ok(verdict),
    };
    for (i, wanted) in wanted.iter_mut().enumerate() {
        if !wanted.is_finite() {
            if found[i].is_finite() {
                return Ok(Verdict::Wrong(format!("element {i} is {}, should not be finite", found[i])));
            }
            *wanted = 0.0;
        }
    }
    let found: Vec<f32> = found.iter().map(|x| if x.is_finite() { *x } else { 0.0 }).collect();
    // A logarithm's 2^-21, a square root and quotients of functions that sum to 100; draws are below 6.
    let bound = |i: usize| {
        64.0 * UNIT * (8.0 + f64::from(from.noise[i].max(0.0)).min(1e3) * 6.0 + f64::from(wanted[i]).abs())
    };
    Ok(judge(&found, &wanted, bound))
}

fn some_choices(case: u32, k: usize) -> (Vec<u32>, Vec<f32>) {
    let mut walk = operands(case);
    let mut experts = Vec::new();
    for _ in 0..TOKENS {
        let mut all: Vec<u32> = (0..EXPERTS as u32).collect();
        walk.shuffle(&mut all);
        experts.extend(all[..k].iter().map(|&e| if walk.below(4) == 0 { ABSENT } else { e }));
    }
    // Eighths, for ties.
    let weights = experts.iter().map(|&e| if e == ABSENT { 0.0 } else { walk.below(6) as f32 / 8.0 });
    let weights = weights.collect();
    (experts, weights)
}

fn count(gpu: &Gpu) -> Result<Verdict> {
    let (experts, _) = some_choices(1101, 3);
    let mut wanted = vec![0; EXPERTS];
    gate::count(&experts, &mut wanted, 1);
    let tensor = gpu.upload(Class::Scratch, "check", &[TOKENS, 3], &experts)?;
    let found = thrice::<u32>(gpu, |rec| {
        let counts = poisoned_words(gpu, &[EXPERTS])?;
        ops::gate::count(rec, &tensor, &counts)?;
        Ok(counts)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn bias(gpu: &Gpu) -> Result<Verdict> {
    let mut verdicts = Vec::new();
    // A mean that is an integer, and one that is not.
    for counts in [[10, 10, 0, 20, 9, 11, 10], [3, 4, 4, 4, 3, 4, 4]] {
        let before = numbers(&mut operands(1102), EXPERTS, 1.0);
        let mut wanted = before.clone();
        gate::rebalance(&counts, &mut wanted, 0.25);
        let counts = words(gpu, &counts)?;
        let found = thrice::<f32>(gpu, |rec| {
            let bias = place(gpu, &[EXPERTS], &before)?;
            ops::gate::rebalance(rec, &counts, &bias, 0.25)?;
            Ok(bias)
        })?;
        verdicts
            .push(("bias", found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| UNIT))));
    }
    Ok(all(verdicts))
}

/// Three groups of more than one word and no multiple of a word, and experts of different capacities.
fn keep(gpu: &Gpu, overflow: Overflow) -> Result<Verdict> {
    const GROUPS: usize = 3;
    const GROUP: usize = TOKENS / GROUPS;
    let (experts, weights) = some_choices(1103, 2);
    let tokens = vec![Token { lse: 0.0, square: 0.0, counts: 1.0, total: 1.0 }; TOKENS];
    let mut scores = vec![f32::NAN; TOKENS * EXPERTS];
    let probs = vec![0.0; TOKENS * EXPERTS];
    gate::scores(&probs, &tokens, &mut scores, Rule::Only(&experts, &weights, GROUP));
    let capacity: Vec<u32> = (0..GROUPS * EXPERTS).map(|i| [9, 0, 4, 1000][i % 4]).collect();
    let wanted = match overflow {
        Overflow::Probability => reference::select_columns(&scores, &capacity, Order::Largest),
        Overflow::Position => gate::first(&scores, &capacity),
    };
    let experts = gpu.upload(Class::Scratch, "check", &[TOKENS, 2], &experts)?;
    let weights = place(gpu, &[TOKENS, 2], &weights)?;
    let capacity = gpu.upload(Class::Scratch, "check", &[GROUPS, EXPERTS], &capacity)?;
    let found = thrice::<u32>(gpu, |rec| {
        let kept = poisoned_words(gpu, &[GROUPS, EXPERTS, GROUP.div_ceil(32)])?;
        ops::gate::keep(rec, &experts, &weights, overflow, &capacity, &kept)?;
        Ok(kept)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn capacity(gpu: &Gpu) -> Result<Verdict> {
    let counts = |token: usize| if token.is_multiple_of(3) { 0.0 } else { 1.0 };
    let tokens: Vec<Token> =
        (0..TOKENS).map(|token| Token { lse: 0.0, square: 0.0, counts: counts(token), total: 1.0 }).collect();
    let by_count: Vec<u32> = (0..=TOKENS as u32).map(|count| 3 * count + 1).collect();
    let mut wanted = vec![0; EXPERTS];
    gate::capacity(&tokens, &by_count, &mut wanted);
    let tokens = place(gpu, &[TOKENS, 4], bytemuck::cast_slice(&tokens))?;
    let by_count = words(gpu, &by_count)?;
    let found = thrice::<u32>(gpu, |rec| {
        let capacity = poisoned_words(gpu, &[EXPERTS])?;
        ops::gate::capacity(rec, &tokens, &by_count, &capacity)?;
        Ok(capacity)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn columns(gpu: &Gpu) -> Result<Verdict> {
    const ROWS: usize = 1000;
    let mut walk = operands(1104);
    let scores: Vec<f32> =
        (0..ROWS * 5).map(|_| [-1.0, 0.25, 3.0, walk.uniform()][walk.below(4) as usize]).collect();
    let capacity = [0, 1, 300, 740, 5000];
    let wanted = reference::select_columns(&scores, &capacity, Order::Smallest);
    let (tensor, capacity) = (place(gpu, &[ROWS, 5], &scores)?, words(gpu, &capacity)?);
    let found = thrice::<u32>(gpu, |rec| {
        let chosen = poisoned_words(gpu, &[5, ROWS.div_ceil(32)])?;
        ops::select_columns(rec, &tensor, SelectK::Count(&capacity), Order::Smallest, &chosen)?;
        Ok(chosen)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn hash(gpu: &Gpu, masked: bool) -> Result<Verdict> {
    let mut walk = operands(1105);
    let ids: Vec<u32> = (0..TOKENS).map(|_| walk.below(50)).collect();
    let valid: Vec<u32> = (0..TOKENS).map(|_| walk.below(3).wrapping_sub(1)).collect();
    let mut experts = vec![77; TOKENS * EXPERTS];
    let mut weights = vec![f32::NAN; TOKENS * EXPERTS];
    gate::hash(&ids, masked.then_some(&valid), &mut experts, &mut weights, EXPERTS, key());
    let (ids, valid) = (words(gpu, &ids)?, words(gpu, &valid)?);
    let found_weights = poisoned(gpu, &[TOKENS, EXPERTS])?;
    let found = thrice::<u32>(gpu, |rec| {
        let experts = poisoned_words(gpu, &[TOKENS, EXPERTS])?;
        let valid = masked.then_some(&valid);
        ops::gate::hash(rec, &ids, valid, key(), EXPERTS, &experts, &found_weights)?;
        Ok(experts)
    })?;
    let verdict = found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &experts));
    let found = read::<f32>(gpu, &found_weights)?;
    Ok(all([("experts", verdict), ("weights", judge(&found, &weights, |_| 4.0 * UNIT))]))
}

fn tally(gpu: &Gpu) -> Result<Verdict> {
    let mut walk = operands(1106);
    let mut draw = || -> Vec<u32> { (0..ops::gate::MOST_EXPERTS).map(|_| walk.below(1 << 20)).collect() };
    let (counts, totals) = (draw(), draw());
    let mut wanted = totals.clone();
    gate::tally(&counts, &mut wanted);
    let counts = words(gpu, &counts)?;
    let found = thrice::<u32>(gpu, |rec| {
        let totals = words(gpu, &totals)?;
        ops::gate::tally(rec, &counts, &totals)?;
        Ok(totals)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}
