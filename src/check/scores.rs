//! Checks of scores of blocks, and of selection by them.

use super::dynamic::{GRID, PLACES, exact, subset, topology, words};
use super::harness::{Check, Verdict, judge, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::{Class, Gpu, Variant};
use crate::ops::{self, ColumnScales, Connect, Order, ProductScore, SelectK, Share, ValueScore};
use crate::reference::{self, bound::UNIT, bound::gamma};
use crate::sparse::{BLOCKS, BlockMatrix, Pattern};

pub(super) fn table() -> Vec<Check> {
    let mut table = vec![
        Check::new("fretwork.reduce.norms.f32", norms),
        Check::new("fretwork.score.connect.f32", connect),
        Check::new("fretwork.score.exclude.f32", exclude),
        Check::new("fretwork.score.stored.f32", |gpu| exclude_stored(gpu, false)),
        Check::new("fretwork.score.stored.f32.except", |gpu| exclude_stored(gpu, true)),
    ];
    for extreme in [Order::Largest, Order::Smallest] {
        for n in [1, 117, 20_000] {
            for share in [0.0, 0.3, 1.0] {
                let name = format!("fretwork.select.radix.f32({extreme:?}) {share} of {n}");
                table.push(Check::new(name, move |gpu| select(gpu, extreme, n, share)));
            }
        }
    }
    for block in BLOCKS {
        for what in [
            ValueScore::Abs,
            ValueScore::Square,
            ValueScore::Largest,
            ValueScore::Positive,
            ValueScore::Negative,
            ValueScore::Times,
            ValueScore::SignedTimes,
        ] {
            let name = format!("fretwork.score.values.f32.b{block}({what:?})");
            table.push(Check::new(name, move |gpu| score_values(gpu, block, what)));
        }
        for variant in [Variant::Lane, Variant::Wave, Variant::Tile] {
            for what in [ProductScore::Abs, ProductScore::Sum, ProductScore::Square, ProductScore::Cosine] {
                for rows in [32, 37] {
                    let name =
                        format!("fretwork.score.{}.f32.b{block}({what:?}) {rows} rows", variant.name());
                    table.push(Check::new(name, move |gpu| score_product(gpu, variant, block, what, rows)));
                }
            }
        }
        table.push(Check::new(format!("fretwork.score.silent.f32.b{block}"), move |gpu| silent(gpu, block)));
    }
    table
}

fn norms(gpu: &Gpu) -> Result<Verdict> {
    const COLUMNS: usize = 70;
    let mut x = numbers(&mut operands(1000), 33 * COLUMNS, 2.0);
    x.iter_mut().skip(3).step_by(COLUMNS).for_each(|x| *x = 0.0);
    let mut wanted = vec![0.0; COLUMNS];
    reference::inverse_norms(&x, &mut wanted);
    let tensor = place(gpu, &[33, COLUMNS], &x)?;
    let found = thrice(gpu, |rec| {
        let out = poisoned(gpu, &[COLUMNS])?;
        ops::inverse_norms(rec, &tensor, &out)?;
        Ok(out)
    })?;
    // A sum of squares on each side, and a square root and a quotient of 2.5 units in the last place each.
    let bound = |i: usize| (gamma(2 * 33) + 12.0 * UNIT) * f64::from(wanted[i]);
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn connect(gpu: &Gpu) -> Result<Verdict> {
    let mut walk = operands(1016);
    let (mut grads, old) = (numbers(&mut walk, PLACES, 3.0), numbers(&mut walk, PLACES, 1.0));
    grads[..GRID[1]].fill(0.0);
    let mut wanted = old.clone();
    reference::score_connect(&grads, &mut wanted, GRID[1], 0.1, 0.2);
    let tensor = place(gpu, &[PLACES], &grads)?;
    let found = thrice(gpu, |rec| {
        let out = place(gpu, &[PLACES], &old)?;
        ops::score_connect(rec, &tensor, &out, GRID, Connect { rate: 0.1, cost: 0.2 })?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| 8.0 * UNIT)))
}

fn exclude(gpu: &Gpu) -> Result<Verdict> {
    let mut walk = operands(1002);
    let scores = numbers(&mut walk, PLACES, 1.0);
    let set = subset(&mut walk, &(0..PLACES).collect::<Vec<_>>(), 50);
    let mut wanted = scores.clone();
    reference::score_exclude(&set, &mut wanted);
    let set = words(gpu, &set)?;
    let found = thrice(gpu, |rec| {
        let out = place(gpu, &[PLACES], &scores)?;
        ops::score_exclude(rec, &set, &out)?;
        Ok(out)
    })?;
    Ok(exact(found, &wanted))
}

fn exclude_stored(gpu: &Gpu, but_some: bool) -> Result<Verdict> {
    let topology = topology(8, 1015)?;
    let pattern = Pattern::upload(gpu, &topology)?;
    let mut walk = operands(1015);
    let scores = numbers(&mut walk, PLACES, 1.0);
    let except = but_some.then(|| subset(&mut walk, &(0..PLACES).collect::<Vec<_>>(), 50));
    let mut wanted = scores.clone();
    reference::score_exclude_stored(&topology, except.as_deref(), &mut wanted);
    let except = except.map(|except| words(gpu, &except)).transpose()?;
    let found = thrice(gpu, |rec| {
        let out = place(gpu, &[PLACES], &scores)?;
        ops::score_exclude_stored(rec, &pattern, except.as_ref(), &out)?;
        Ok(out)
    })?;
    Ok(exact(found, &wanted))
}

fn select(gpu: &Gpu, extreme: Order, n: usize, share: f32) -> Result<Verdict> {
    let mut walk = operands(1006);
    // Many ties, negative scores, which take no part, and every magnitude.
    let mut scores: Vec<f32> = (0..n)
        .map(|_| [-1.0, 0.0, 0.25, 3.0, walk.uniform(), 1e30 * walk.uniform()][walk.below(6) as usize])
        .collect();
    scores[n - 1] = 0.5;
    let candidates = scores.iter().filter(|score| score.is_sign_positive()).count();
    let k = Share(share).of(candidates);
    let wanted = reference::select(&scores, k, extreme);
    let (tensor, k_word) = (place(gpu, &[n], &scores)?, words(gpu, &[k as u32])?);
    for wanted_k in [SelectK::Share(Share(share)), SelectK::Count(&k_word)] {
        let found = thrice(gpu, |rec| {
            let chosen = words(gpu, &vec![7; n.div_ceil(32)])?;
            ops::select(rec, &tensor, wanted_k, extreme, &chosen)?;
            Ok(chosen)
        })?;
        let verdict = exact(found, &wanted);
        if verdict != Verdict::Right(0.0) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Right(0.0))
}

fn score_values(gpu: &Gpu, block: usize, what: ValueScore) -> Result<Verdict> {
    let topology = topology(block, 1007)?;
    let pattern = Pattern::upload(gpu, &topology)?;
    let mut walk = operands(1007);
    let [w, g] = [(); 2].map(|()| numbers(&mut walk, topology.elements(), 1.0));
    let other = what.takes_other().then_some(&g);
    let mut wanted = vec![-1.0; PLACES];
    reference::score_values(&topology, &w, other.map(Vec::as_slice), &mut wanted, what);
    let matrix = BlockMatrix::upload(gpu, Class::Scratch, "check", &pattern, &w)?;
    let g_tensor = place(gpu, matrix.values().shape(), &g)?;
    let found = thrice(gpu, |rec| {
        let scores = place(gpu, &[PLACES], &[-1.0; PLACES])?;
        ops::score_values(rec, &matrix, other.map(|_| &g_tensor), &scores, what)?;
        Ok(scores)
    })?;
    // Sums over a block of terms of at most 1.
    let area = block * block;
    let bound = |_| if what == ValueScore::Largest { 0.0 } else { 2.0 * gamma(area / 4 + 3) * area as f64 };
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn score_product(
    gpu: &Gpu,
    variant: Variant,
    block: usize,
    what: ProductScore,
    rows: usize,
) -> Result<Verdict> {
    let gpu = &gpu.with_variant(Some(variant));
    // A grid that is no multiple of any variant's workgroup tile.
    let [m, n] = [(96 / block).max(1) * block + block, (160 / block) * block + block];
    let places = m / block * (n / block);
    let mut walk = operands(1008);
    let (lhs, rhs) = (numbers(&mut walk, rows * m, 1.0), numbers(&mut walk, rows * n, 1.0));
    let (a, b) = (numbers(&mut walk, m, 1.0), numbers(&mut walk, n, 1.0));
    let cosine = what == ProductScore::Cosine;
    let mut wanted = vec![0.0; places];
    let scales = cosine.then_some([a.as_slice(), b.as_slice()]);
    reference::score_product(&lhs, &rhs, &mut wanted, [m, n, rows], block, what, scales);
    let (lhs, rhs) = (place(gpu, &[rows, m], &lhs)?, place(gpu, &[rows, n], &rhs)?);
    let (a, b) = (place(gpu, &[m], &a)?, place(gpu, &[n], &b)?);
    let found = thrice(gpu, |rec| {
        let scores = poisoned(gpu, &[places])?;
        ops::score_product(
            rec,
            &lhs,
            &rhs,
            &scores,
            block,
            what,
            cosine.then_some(ColumnScales { lhs: &a, rhs: &b }),
        )?;
        Ok(scores)
    })?;
    // Elements below `rows` in magnitude (their squares below its square), each a sum of `rows` products, summed over a
    // block.
    let size = (rows as f64).powi(if what == ProductScore::Square { 2 } else { 1 });
    let bound = |_| 2.0 * gamma(2 * rows + block * block) * size * (block * block) as f64;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

/// Blocks of columns with one nonzero element, in the first or the last row, and blocks without one.
fn silent(gpu: &Gpu, block: usize) -> Result<Verdict> {
    const ROWS: usize = 5;
    let width = GRID[0] * block;
    let mut dy = vec![0.0; ROWS * width];
    dy[block - 1] = 1e-30;
    dy[(ROWS - 1) * width + 2 * block] = -1.0;
    dy[width] = -0.0;
    let mut wanted = vec![7; GRID[0]];
    reference::score_silent(&dy, block, &mut wanted);
    let dy = place(gpu, &[ROWS, width], &dy)?;
    let found = thrice(gpu, |rec| {
        let out = words(gpu, &[7; GRID[0]])?;
        ops::score_silent(rec, &dy, block, &out)?;
        Ok(out)
    })?;
    Ok(exact(found, &wanted))
}
